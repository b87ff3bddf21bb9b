import type { Entry, Sample } from '../../domain/sample.ts';

/** `conntrack -L -p udp`: `udp 17 29 src=… dst=… sport=… dport=… [UNREPLIED] src=… dst=… sport=… dport=…`. */
export function parseEntries(lines: string[]): Entry[] {
  return lines.flatMap((line) => {
    const head = /^udp\s+17\s+(\d+)\s/.exec(line);
    const all = (key: string): string[] =>
      [...line.matchAll(new RegExp(`\\b${key}=(\\S+)`, 'g'))].map((m) => m[1] ?? '');
    const [sources, destinations, sports, dports] = [all('src'), all('dst'), all('sport'), all('dport')];
    if (!head || [sources, destinations, sports, dports].some((pair) => pair.length !== 2)) return [];
    if (![...sports, ...dports].every((port) => /^\d+$/.test(port))) return [];
    return [
      {
        source: sources[0] ?? '',
        sourcePort: Number(sports[0]),
        destination: destinations[0] ?? '',
        destinationPort: Number(dports[0]),
        replySource: sources[1] ?? '',
        replySourcePort: Number(sports[1]),
        replyDestination: destinations[1] ?? '',
        replyDestinationPort: Number(dports[1]),
        unreplied: line.includes('[UNREPLIED]'),
        timeout: Number(head[1]),
      },
    ];
  });
}

/** /proc/net/udp and udp6: queue and drops per socket. Columns by position: the header's words do not match them. */
export function parseSockets(lines: string[]): Sample['sockets'] {
  return lines.flatMap((line) => {
    const fields = line.trim().split(/\s+/);
    const [, address = '', port = ''] = /^([0-9A-F]+):([0-9A-F]{4})$/.exec(fields[1] ?? '') ?? [];
    const queued = Number.parseInt((fields[4] ?? '').split(':')[1] ?? '', 16);
    const [inode, drops] = [Number(fields[9]), Number(fields[12])];
    if (!/^\d+:$/.test(fields[0] ?? '') || !port || ![queued, inode, drops].every(Number.isInteger)) return [];
    return [{ address, port: Number.parseInt(port, 16), queued, drops, inode }];
  });
}
