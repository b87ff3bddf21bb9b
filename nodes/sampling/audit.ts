import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { NodeValues } from '../../domain/audit.ts';
import { type Command, type Shell, run } from '../shells/shell.ts';
import { parseFeatures, parseLinks } from './links.ts';
import { countersOf, gaugesOf } from './parse.ts';
import { SampleError, splitParts } from './parts.ts';

export const auditScript = readFileSync(new URL('audit.sh', import.meta.url), 'utf8');

/** A usual node prints 16 kB; one with 256 processors 100 kB. */
const maxBytes = 512 << 10;

/**
 * Reads the host's namespace of one node in one round trip.
 * @throws Error that says why there is nothing: the node does not answer in time, or what it says is no reading
 */
export async function readNode(shell: Shell, limits: Pick<Command, 'deadlineMs' | 'signal'>): Promise<NodeValues> {
  const nonce = randomBytes(8).toString('hex');
  const started = Date.now();
  const outcome = await run(shell, { argv: ['sh', '-c', auditScript, 'sh', nonce], maxBytes, brief: true, ...limits });
  if (outcome.kind !== 'exited') throw new Error(outcome.why);
  if (!outcome.stdout.includes(`#${nonce} `))
    throw new Error(`the reading ended with status ${outcome.code}: ${outcome.stderr.trim().slice(0, 200)}`);
  const took = Date.now() - started;
  return { ...parseAudit(outcome.stdout, nonce), seen: started + took / 2, took };
}

/** Files below /proc -> the names that sampler.sh gives the same parts. */
const partOf: Record<string, string> = {
  'net/snmp': 'snmp',
  'net/netstat': 'netstat',
  'net/snmp6': 'snmp6',
  'net/sockstat': 'sockstat',
  'net/softnet_stat': 'softnet',
  'net/stat/nf_conntrack': 'conntrack',
  'net/stat/arp_cache': 'arp',
};
const kernelFile = 'sys/kernel/';

/**
 * What audit.sh printed, as values; what could not be read is in `missing`, never a zero.
 * @throws SampleError when it is cut short or is not audit.sh's
 */
export function parseAudit(output: string, nonce: string): Omit<NodeValues, 'seen' | 'took'> {
  const parts = splitParts(output, nonce);
  const self = parts.get('self')?.lines ?? [];
  const files = new Map<string, string[]>();
  for (const line of parts.get('proc')?.lines ?? []) {
    const colon = line.indexOf(':');
    const path = line.slice(0, colon);
    const rest = line.slice(colon + 1);
    const sysctl = path.startsWith('sys/') && !path.startsWith(kernelFile);
    const name = sysctl ? 'sysctls' : (partOf[path] ?? path);
    const known = files.get(name) ?? [];
    files.set(name, known);
    known.push(sysctl ? setting(path, rest) : rest);
  }
  const kernel = (name: string): string => files.get(kernelFile + name)?.[0] ?? '';
  const [, clock, netns] = /^(\d+) .*net:\[(\d+)\]/.exec(self[0] ?? '') ?? [];
  const value = (key: string): string => self.find((line) => line.startsWith(`${key} `))?.slice(key.length + 1) ?? '';
  const uptime = Number.parseFloat(value('uptime'));
  const bootId = kernel('random/boot_id');
  if (!bootId || !netns || !Number.isFinite(uptime))
    throw new SampleError('the reading does not say when and of which boot and network namespace it is');
  const lines = (name: string): string[] => files.get(name) ?? [];
  const [tracked] = parts.get('tracked')?.lines ?? [];
  const uplink = value('uplink');
  return {
    clock: Number(clock) * 1000,
    bootId,
    netns,
    uptime,
    kernel: kernel('osrelease'),
    arch: kernel('arch'),
    uplink,
    counters: countersOf(lines),
    settings: { ...gaugesOf(lines), ...strictness(lines('sysctls')), ...memory(lines('sockstat')), ...neighbours(lines('arp')) },
    links: parseLinks(parts.get('links')?.lines ?? []),
    features: parseFeatures(parts.get('features')?.lines ?? []),
    ...(tracked !== undefined && { tracked: tracked === 'yes' }),
    missing: {
      ...Object.fromEntries([...parts].flatMap(([name, { missing }]) => (missing === undefined ? [] : [[name, missing]]))),
      ...Object.fromEntries(
        Object.entries(partOf).flatMap(([path, name]) =>
          files.has(name) ? [] : [[name, `no /proc/${path} that can be read in this network namespace`]],
        ),
      ),
    },
  }; // prettier-ignore
}

/** `path:value`; of the three limits of udp_mem the last is the one that drops. */
const setting = (path: string, value: string): string =>
  path.endsWith('/udp_mem') ? `udp_mem_max:${value.trim().split(/\s+/)[2] ?? ''}` : `${path}:${value}`;

/** The kernel takes the stricter of the two, where 2 (loose) is above 1 (strict): as it says, the larger number. */
function strictness(lines: readonly string[]): Record<string, number> {
  const found = lines.flatMap((line) => /\/rp_filter:(\d)$/.exec(line)?.[1] ?? []).map(Number);
  return found.length ? { rp_filter: Math.max(...found) } : {};
}

function memory(lines: readonly string[]): Record<string, number> {
  const pages = lines.flatMap((line) => /^UDP: inuse \d+ mem (\d+)/.exec(line)?.[1] ?? [])[0];
  return pages === undefined ? {} : { udp_memory: Number(pages) };
}

/** The first column is the table's total, the same on every line. */
function neighbours([header, row]: readonly string[]): Record<string, number> {
  const entries = header?.startsWith('entries') ? Number.parseInt(row?.trim().split(/\s+/)[0] ?? '', 16) : Number.NaN;
  return Number.isFinite(entries) ? { neigh_entries: entries } : {};
}
