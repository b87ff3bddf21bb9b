import { Sample } from '../../domain/sample.ts';
import { counters as known, gauges as knownGauges } from '../../domain/counters.ts';
import { type Part, SampleError, splitParts } from './parts.ts';
import {
  parseDevices,
  parseFeatures,
  parseLinks,
  parseNeighbours,
  parseNicStats,
  parseQdiscs,
  parseRoutes,
} from './links.ts';
import { parseIptables, parseNft } from './rules.ts';
import { parseEntries, parseSockets } from './tables.ts';

/**
 * Turns the sampler's output into a typed sample. What could not be read is in `missing`, never a zero.
 * @throws SampleError when the output is cut short or is not the sampler's
 */
export function parseSample(output: string, nonce: string): Sample {
  const parts = splitParts(output, nonce);
  for (const name of always)
    if (!parts.has(name)) parts.set(name, { lines: [], missing: 'the reading of it was cut off', cut: false });
  for (const name of summedParts)
    if (parts.get(name)?.cut)
      parts.set(name, { lines: [], missing: 'it was cut, and a sum over a part of it is none', cut: false });
  const lines = (name: string): string[] => parts.get(name)?.lines ?? [];
  const identity = words(lines('identity'));
  const bootId = identity.get('boot');
  const netns = /\d+/.exec(identity.get('netns') ?? '')?.[0];
  const uptime = Number.parseFloat(identity.get('uptime') ?? '');
  if (!bootId || !netns || !Number.isFinite(uptime))
    throw new SampleError('the reading does not say when and of which boot and network namespace it is');
  const iptables = parseIptables(lines('iptables'));
  const legacy = parseIptables(lines('legacy'), 'legacy ');
  return {
    bootId,
    netns,
    uptime,
    kernel: identity.get('kernel') ?? '',
    root: identity.get('uid') === '0',
    tools: lines('identity').flatMap((line) => /^(?:tool |(?=python ))(\S+)/.exec(line)?.[1] ?? []),
    counters: countersOf(lines),
    gauges: gaugesOf(lines),
    devices: {
      ...parseDevices(lines('dev')),
      ...parseQdiscs(lines('qdisc')),
      ...parseNicStats(lines('nicstats')),
    },
    rules: [...iptables.rules, ...legacy.rules, ...parseNft(lines('nft'), iptables.tables)],
    sockets: [...parseSockets(lines('udp')), ...parseSockets(lines('udp6'))],
    links: parseLinks(lines('links')),
    features: parseFeatures(lines('features')),
    neighbours: parseNeighbours(lines('neighbours')),
    routes: parseRoutes(lines('routes')),
    entries: parseEntries(lines('entries')),
    log: lines('log').flatMap((line) => {
      const match = /^(?:<\d+>)?\[\s*(\d+\.\d+)\] (.*)$/.exec(line);
      return match ? [{ at: Number(match[1]), text: (match[2] ?? '').slice(0, 200) }] : [];
    }),
    missing: Object.fromEntries(
      [...parts].flatMap(([name, part]: [string, Part]) => (part.missing ? [[name, part.missing]] : [])),
    ),
    cut: [...parts].filter(([, part]) => part.cut).map(([name]) => name),
  };
}

type Lines = (part: string) => string[];

/** Every counter of the parts snmp, netstat, snmp6, conntrack, arp, softnet and cpu that causes or audits may name. */
export function countersOf(lines: Lines): Record<string, number> {
  const counters = {
    ...parseSnmp([...lines('snmp'), ...lines('netstat')]),
    ...parseSnmp6(lines('snmp6')),
    ...parsePerCpu(lines('conntrack'), 'conntrack_', conntrackNames),
    ...parsePerCpu(lines('arp'), 'neigh_', {}),
    ...parseSoftnet(lines('softnet')),
    ...parseCpu(lines('cpu')),
  };
  return only(counters, known);
}

/** Every setting and gauge of the parts sysctls and sockstat. */
export const gaugesOf = (lines: Lines): Record<string, number> =>
  only({ ...parseSysctls(lines('sysctls')), ...parseSockstat(lines('sockstat')) }, knownGauges);

/** Parts that every reading has: of one that is not there nothing is known, which is no zero. */
const always =
  'snmp netstat snmp6 sockstat softnet conntrack arp dev udp udp6 iptables nft qdisc sysctls neighbours nicstats'.split(
    ' ',
  );

/** Tables with a line for each processor, and files of each container, which only count as a whole. */
const summedParts = ['softnet', 'conntrack', 'arp', 'cpu'];

/** The names that /proc gives two columns, by those of `conntrack -S`. */
const conntrackNames: Record<string, string> = { clashres: 'clash_resolve', chainlength: 'chaintoolong' };

const words = (lines: string[]): Map<string, string> =>
  new Map(lines.map((line) => [line.split(' ', 1)[0] ?? '', line.slice(line.indexOf(' ') + 1)]));

function only(values: Record<string, number>, names: object): Record<string, number> {
  return Object.fromEntries(Object.entries(values).filter(([name, value]) => name in names && Number.isFinite(value)));
}

/**
 * /proc/net/snmp and netstat: a line of names, then a line of values, both with the same first word. They have 400 names,
 * which are looked up before anything is made of them: an audit reads a thousand such files.
 */
function parseSnmp(lines: string[]): Record<string, number> {
  const result: Record<string, number> = {};
  for (let index = 0; index + 1 < lines.length; index += 2) {
    const names = (lines[index] ?? '').split(' ');
    const values = (lines[index + 1] ?? '').split(' ');
    if (names[0] !== values[0]) continue;
    const prefix = names[0]?.slice(0, -1) ?? '';
    names.forEach((name, column) => {
      const counter = prefix + name;
      const value = values[column] ?? '';
      if (counter in known && /^-?\d+$/.test(value)) result[counter] = Number(value);
    });
  }
  return result;
}

function parseSnmp6(lines: string[]): Record<string, number> {
  return Object.fromEntries(
    lines.flatMap((line) => {
      const match = /^(\w+)\s+(\d+)$/.exec(line);
      return match?.[1] ? [[match[1], Number(match[2])]] : [];
    }),
  );
}

/** /proc/net/stat files: a header, then a line of hex columns per CPU. Read by name: columns were renamed over time. */
function parsePerCpu(lines: string[], prefix: string, renamed: Record<string, string>): Record<string, number> {
  const [header, ...rows] = lines.map((line) => line.trim().split(/\s+/));
  const result: Record<string, number> = {};
  if (rows.length === 0) return result;
  header?.forEach((name, column) => {
    if (name === 'entries') return; // the table's total, repeated on every line
    result[prefix + (renamed[name] ?? name)] = rows.reduce(
      (sum, row) => sum + Number.parseInt(row[column] ?? '', 16),
      0,
    );
  });
  return result;
}

function parseSoftnet(lines: string[]): Record<string, number> {
  if (lines.length === 0) return {};
  const column = (index: number): number =>
    lines.reduce((sum, line) => sum + Number.parseInt(line.trim().split(/\s+/)[index] ?? '', 16), 0);
  return { softnet_dropped: column(1), softnet_squeezed: column(2) };
}

/** cpu.stat of one cgroup after another, added up. Version 1 counts the time in nanoseconds and calls it otherwise. */
function parseCpu(lines: string[]): Record<string, number> {
  const result: Record<string, number> = {};
  for (const line of lines) {
    const [, name, value] = /^(nr_periods|nr_throttled|throttled_usec|throttled_time) (\d{1,19})$/.exec(line) ?? [];
    if (name === undefined) continue;
    const counter = name.startsWith('nr_') ? `cpu_${name.slice(3)}` : 'cpu_throttled_usec';
    result[counter] = (result[counter] ?? 0) + Math.floor(Number(value) / (name === 'throttled_time' ? 1000 : 1));
  }
  return result;
}

function parseSockstat(lines: string[]): Record<string, number> {
  const memory = lines.flatMap((line) => /^FRAG: inuse \d+ memory (\d+)/.exec(line)?.[1] ?? [])[0];
  return memory === undefined ? {} : { frag_memory: Number(memory) };
}

/** `path:value` lines. */
function parseSysctls(lines: string[]): Record<string, number> {
  return Object.fromEntries(
    lines.flatMap((line) => {
      const match = /([^/:]+):(-?\d+)$/.exec(line);
      return match?.[1] ? [[match[1], Number(match[2])]] : [];
    }),
  );
}
