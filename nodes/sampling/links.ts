import type { Link, Sample } from '../../domain/sample.ts';

const kinds = /\b(veth|vxlan|bridge|bond|vlan|ipip|geneve|wireguard|macvlan|ipvlan|tun|dummy|gre|sit)\b/;

/** `ip -o -d link show`: one line per device. */
export function parseLinks(lines: string[]): Link[] {
  return lines.flatMap((line) => {
    const head = /^\d+: ([^:@\s]+)(?:@\S+)?: <([^>]*)> mtu (\d+)/.exec(line);
    if (!head?.[1]) return [];
    const details = line.slice(line.indexOf('link/'));
    const kind = kinds.exec(details)?.[1] ?? (head[2]?.includes('LOOPBACK') ? 'loopback' : 'physical');
    return [
      {
        name: head[1],
        mtu: Number(head[3]),
        kind,
        up: (head[2] ?? '').split(',').includes('UP'),
      },
    ];
  });
}

/** Names and sent frames that were dropped, thinned from /proc/net/dev, as `link.eth0.tx_dropped`. */
export function parseDevices(lines: string[]): Record<string, number> {
  return Object.fromEntries(
    lines.flatMap((line) => {
      const match = /^(\S+): (\d+)$/.exec(line);
      return match ? [[`link.${match[1]}.tx_dropped`, Number(match[2])]] : [];
    }),
  );
}

/** `tc -s qdisc show`: drops per root qdisc as `qdisc.eth0.tbf.dropped`. Inner qdiscs are counted in their root too. */
export function parseQdiscs(lines: string[]): Record<string, number> {
  const result: Record<string, number> = {};
  let key = '';
  for (const line of lines) {
    const head = /^qdisc (\S+) \S+ dev (\S+) (root|ingress|clsact|parent)/.exec(line);
    if (head) key = head[3] === 'parent' ? '' : `qdisc.${head[2]}.${head[1]}.dropped`;
    const dropped = /^ Sent .*\(dropped (\d+),/.exec(line);
    if (dropped && key) result[key] = Number(dropped[1]);
  }
  return result;
}

/** `ethtool -S`, after a line `device NAME` each: keys that mean loss, as `nic.eth0.rx_missed_errors`. */
export function parseNicStats(lines: string[]): Record<string, number> {
  const result: Record<string, number> = {};
  let device = '';
  for (const line of lines) {
    const head = /^device (\S+)$/.exec(line);
    if (head) device = head[1] ?? '';
    const stat = /^\s+([\w.-]+): (\d+)$/.exec(line);
    if (stat && device) result[`nic.${device}.${stat[1]}`] = Number(stat[2]);
  }
  return result;
}

/** `ethtool -k`, after a line `device NAME` each. */
export function parseFeatures(lines: string[]): Sample['features'] {
  const result: Sample['features'] = {};
  let device = '';
  for (const line of lines) {
    const head = /^device (\S+)$/.exec(line);
    if (head) result[(device = head[1] ?? '')] = {};
    const feature = /^\s*([\w-]+): (on|off)\b/.exec(line);
    const features = result[device];
    if (feature?.[1] && features) features[feature[1]] = feature[2] === 'on';
  }
  return result;
}

export function parseNeighbours(lines: string[]): Sample['neighbours'] {
  return lines.flatMap((line) => {
    const match = /^(\S+) dev (\S+)(?: lladdr \S+)?.* ([A-Z]+)\s*$/.exec(line);
    return match ? [{ address: match[1] ?? '', device: match[2] ?? '', state: match[3] ?? '' }] : [];
  });
}

/** `ip route get`, after a line `to ADDRESS` each: the device it leaves by, or the kernel's refusal. */
export function parseRoutes(lines: string[]): Sample['routes'] {
  const result: Sample['routes'] = {};
  let address = '';
  for (const line of lines) {
    const head = /^to (\S+)$/.exec(line);
    if (head) {
      address = head[1] ?? '';
      continue;
    }
    if (!address || address in result) continue;
    const device = /\bdev (\S+)/.exec(line)?.[1] ?? '';
    const refused =
      /^(blackhole|unreachable|prohibit)\b/.exec(line)?.[1] ??
      (device ? '' : line.replace('RTNETLINK answers: ', '').slice(0, 120));
    const via = /\bvia (\S+)/.exec(line)?.[1];
    result[address] = { device, error: refused, ...(via && { via }) };
  }
  return result;
}
