import { type Delta, type Evidence, type Window, deltaOf, fullSample } from './evidence.ts';
import type { ProbeResult } from './probe.ts';
import type { Rule, Sample } from './sample.ts';
import { cliffOf } from './sizes.ts';
import { staleFlows } from './stale.ts';
import type { Place } from './target.ts';

/** The names that expressions may use, for the check at load time; `factsAt` gives each of them a value. */
export const factNames = [
  'delta', 'before', 'after', 'place', 'probe', 'probes', 'step', 'senderDelta', 'receiverDelta', 'dropRule', 'invalidRule',
  'fragmentRule', 'icmpRule', 'qdisc', 'link', 'nic', 'socket', 'sizes', 'offload', 'masquerade', 'stale', 'neighbour',
  'route', 'log', 'path', 'checksums',
] as const; // prettier-ignore

export type Facts = Record<(typeof factNames)[number], unknown>;

/** Thrown where a window says nothing about a place; the message is the reason for `untested`. */
export class Unseen extends Error {}

const partOf: [RegExp, string][] = [
  [/^conntrack_/, 'conntrack'],
  [/^neigh_/, 'arp'],
  [/^softnet_/, 'softnet'],
  [/^(Udp|Ip|Icmp)6/, 'snmp6'],
  [/^(TcpExt|IpExt)/, 'netstat'],
  [/^(Udp|Ip|Icmp)/, 'snmp'],
];

/** Why a counter or setting is not there: the part of the sample that could not be read, or this kernel. */
export function whyMissing(evidence: Evidence, place: string, key: string): string {
  const part = partOf.find(([pattern]) => pattern.test(key))?.[1] ?? 'sysctls';
  const why = evidence.windows.at(-1)?.after.samples[place]?.missing[part];
  return `${key} could not be read here${why ? `: ${why}` : ' (not on this kernel or namespace)'}`;
}

/**
 * Derives the named facts of one place in one window. A key that is absent was not readable: an expression that needs it
 * ends as `untested`, never as zero.
 * @throws Unseen when the place was not sampled at both edges, or the pair is void
 */
export function factsAt(evidence: Evidence, window: Window, place: Place): Facts {
  const { path } = evidence;
  const after = window.after.samples[place.name];
  const delta = seenDelta(window, place.name);
  const full = fullSample(evidence, place.name);
  if (!after || !full) throw new Unseen(`${place.name} was not sampled`);
  const destination = destinationOf(evidence, place);
  const route = full.routes[destination];
  return {
    delta: delta.counters,
    before: window.before.samples[place.name]?.gauges,
    after: after.gauges,
    place: { name: place.name, role: place.role, root: after.root },
    step: window.step,
    probe: probeFacts(window.probe),
    probes: Object.fromEntries(probesByStep(evidence).map(([step, probe]) => [step, probeFacts(probe)])),
    senderDelta: otherDelta(
      window,
      path.places.find(({ role }) => role === 'sender'),
    ),
    receiverDelta: otherDelta(
      window,
      path.places.find(({ role }) => role === 'receiver'),
    ),
    dropRule: topRule(
      after,
      delta,
      (rule) => loses(rule) && rule.protocol === 'udp' && !rule.invalid && !rule.fragments,
    ),
    invalidRule: topRule(after, delta, (rule) => loses(rule) && rule.invalid),
    fragmentRule: topRule(after, delta, (rule) => loses(rule) && rule.fragments),
    icmpRule: topRule(after, delta, (rule) => loses(rule) && rule.protocol === 'icmp'),
    qdisc: topDevice(delta, /^qdisc\.(.*)\.(\w+)\.dropped$/),
    link: topDevice(delta, linkDrops),
    nic: topDevice(delta, /^nic\.([^.]+)\.(?!.*queue)(\S*(?:miss|no_buf|out_of_buf|fifo|allowance)\S*)$/),
    socket: topSocket(after, delta),
    sizes: sizeFacts(evidence),
    offload: offloadFacts(full, destination),
    masquerade: masqueradeFacts(full),
    stale: staleFlows(evidence, window, place),
    neighbour: neighbourFacts(full, after, route?.via ?? destination),
    route: { device: route?.device ?? '', error: route?.error ?? '', known: route !== undefined },
    log: logFacts(window.before.samples[place.name], evidence, place),
    path: pathFacts(evidence, window),
    checksums: checksumFacts(evidence, window, place),
  };
}

/** The facts that decide whether a step is worth its time, before and between probes. */
export function situationOf(evidence: Evidence): Record<string, unknown> {
  const { path } = evidence;
  const samples = path.places.flatMap((place) => fullSample(evidence, place.name) ?? []);
  const probes = probesByStep(evidence);
  return {
    probes: Object.fromEntries(probes.map(([step, probe]) => [step, probeFacts(probe)])),
    lost: probes.reduce((sum, [, probe]) => sum + probe.lost, 0),
    peer: path.peer !== undefined,
    service: path.service !== undefined,
    echo: path.service?.probe === 'echo',
    plainMasquerade: samples.some((sample) => (masqueradeFacts(sample) as { plain: boolean }).plain),
    staleFlows: path.places.reduce((sum, place) => {
      const window = evidence.windows[0];
      return sum + (window ? staleFlows(evidence, window, place).entries : 0);
    }, 0),
  };
}
export const situationNames = ['probes', 'lost', 'peer', 'service', 'echo', 'plainMasquerade', 'staleFlows'] as const;

function seenDelta(window: Window, name: string): Delta {
  const [before, after] = [window.before.samples[name], window.after.samples[name]];
  if (!before || !after)
    throw new Unseen(window.after.failed[name] ?? window.before.failed[name] ?? `${name} was not sampled`);
  const delta = deltaOf(before, after);
  if ('void' in delta) throw new Unseen(`void at ${name}: ${delta.void}`);
  return delta;
}

/** Counters of another place in the same window; empty where it was not seen, so that naming one ends as untested. */
function otherDelta(window: Window, place: Place | undefined): Record<string, number> {
  try {
    return place ? seenDelta(window, place.name).counters : {};
  } catch {
    return {};
  }
}

/**
 * Where a place sends the probes on: to the far end, or back from there. Between the two ends of a tunnel packets are for
 * the far node; the pods behind it are nothing to such a hop.
 */
function destinationOf(evidence: Evidence, place: Place): string {
  const { places } = evidence.path;
  const [near, far] = place.role === 'receiver' ? [places.at(-1), places[0]] : [places[0], places.at(-1)];
  if (!near || !far) return '';
  const between = place.role === 'hop' && place.node !== near.node && place.node !== far.node;
  const tunnel = places.find((one) => one.role === 'hop' && one.node === near.node);
  const tunnelled = between && tunnel && vxlanOf(fullSample(evidence, tunnel.name), far.address) !== '';
  return tunnelled ? far.nodeAddress : far.address;
}

/** One result per step, chips of a coded step added up by the caller's choice of window. */
function probesByStep(evidence: Evidence): [string, ProbeResult][] {
  return evidence.windows.flatMap((window) =>
    window.probe && window.chip === undefined ? [[window.step, window.probe]] : [],
  );
}

function probeFacts(probe: ProbeResult | undefined): Record<string, unknown> {
  if (!probe)
    return {
      sent: 0,
      lost: 0,
      requestLost: 0,
      replyLost: 0,
      answered: 0,
      tooBig: 0,
      damaged: 0,
      refused: 0,
      ownDrops: 0,
      strange: 0,
    };
  const { bySize: _, refused, ...numbers } = probe;
  return { ...numbers, refused: Object.values(refused).reduce((a, b) => a + b, 0) };
}

const loses = (rule: Rule): boolean => rule.verdict === 'drop' || rule.verdict === 'reject';

function topRule(after: Sample, delta: Delta, wanted: (rule: Rule) => boolean): { packets: number; text: string } {
  if (after.missing['iptables'] !== undefined && after.missing['nft'] !== undefined) return {} as never;
  let top = { packets: 0, text: '' };
  for (const rule of after.rules) {
    const packets = delta.rules[rule.id] ?? 0;
    if (wanted(rule) && packets > top.packets) top = { packets, text: rule.text };
  }
  return top;
}

/** The sending end's count: the receiving end of a veth pair counts the same frames again. */
const linkDrops = /^link\.(.*)\.(tx)_dropped$/;

function topDevice(delta: Delta, pattern: RegExp): { dropped: number; device: string; kind: string } {
  let top = { dropped: 0, device: '', kind: '' };
  for (const [name, dropped] of Object.entries(delta.devices)) {
    const match = pattern.exec(name);
    if (match && dropped > top.dropped) top = { dropped, device: match[1] ?? '', kind: match[2] ?? '' };
  }
  return top;
}

function topSocket(after: Sample, delta: Delta): { drops: number; port: number; queued: number } {
  let top = { drops: 0, port: 0, queued: 0 };
  for (const socket of after.sockets) {
    const drops = delta.sockets[String(socket.inode)] ?? 0;
    if (drops > top.drops) top = { drops, port: socket.port, queued: socket.queued };
  }
  return top;
}

/** The MTU of the device by which the sender's datagrams leave. */
export function senderMtu(evidence: Evidence): number {
  const [sender] = evidence.path.places;
  const sample = sender && fullSample(evidence, sender.name);
  const device = sample?.routes[evidence.path.places.at(-1)?.address ?? '']?.device;
  return sample?.links.find((link) => link.name === device)?.mtu ?? 1500;
}

function sizeFacts(evidence: Evidence): object {
  const of = (step: string): ProbeResult | undefined => evidence.windows.find((window) => window.step === step)?.probe;
  const [df, plain] = [of('sizes-df'), of('sizes')];
  const fits = senderMtu(evidence) - (evidence.path.places[0]?.address.includes(':') ? 48 : 28);
  const fitting = (plain?.bySize ?? []).filter((one) => one.size <= fits);
  return {
    df: cliffOf(df),
    plain: cliffOf(plain),
    /** Largest payload that leaves the sender in one piece. */
    fits,
    /** Loss of datagrams that left in one piece, and of those that the sender had to fragment, DF off. */
    wholeLost: fitting.reduce((sum, one) => sum + one.lost, 0),
    piecesLost: (plain?.lost ?? 0) - fitting.reduce((sum, one) => sum + one.lost, 0),
    tested: df !== undefined && plain !== undefined,
  };
}

function vxlanOf(sample: Sample | undefined, destination: string): string {
  const device = sample?.routes[destination]?.device;
  return sample?.links.find((link) => link.name === device && link.kind === 'vxlan')?.name ?? '';
}

/** The device that leaves checksums to hardware on the way out: the overlay's where there is one. */
function offloadFacts(sample: Sample, destination: string): { device: string; checksum: boolean; overlay: boolean } {
  const overlay = vxlanOf(sample, destination);
  const device = overlay || (sample.routes[destination]?.device ?? '');
  const features = sample.features[device] ?? {};
  const checksum = ['tx-checksum-ip-generic', 'tx-checksum-ipv4', 'tx-checksumming'].some(
    (name) => features[name] === true,
  );
  return { device, checksum, overlay: overlay !== '' };
}

function masqueradeFacts(sample: Sample): object {
  const rules = sample.rules.filter((rule) => rule.verdict === 'masquerade' || rule.verdict === 'snat');
  const plain = rules.find((rule) => !rule.random);
  return { plain: plain !== undefined, text: (plain ?? rules[0])?.text ?? '', known: !('iptables' in sample.missing) };
}

/** Whether the next hop towards the far end fails to resolve; only light samples lack the table. */
function neighbourFacts(full: Sample, after: Sample, nextHop: string): object {
  const all = after.neighbours.length ? after.neighbours : full.neighbours;
  const failed = all.find((one) => /FAILED|INCOMPLETE/.test(one.state) && one.address === nextHop);
  return { failed: failed !== undefined, address: failed?.address ?? '', device: failed?.device ?? '' };
}

/** What any place of the path says of the whole way. */
function pathFacts(evidence: Evidence, window: Window): object {
  const { path } = evidence;
  const deltas = path.places.flatMap((place) => {
    const [before, after] = [window.before.samples[place.name], window.after.samples[place.name]];
    const delta = before && after ? deltaOf(before, after) : undefined;
    return delta && !('void' in delta) ? [delta] : [];
  });
  const largest = (pick: (delta: Delta) => number): number => Math.max(0, ...deltas.map(pick));
  return {
    overlay: path.places.some((one) => vxlanOf(fullSample(evidence, one.name), destinationOf(evidence, one)) !== ''),
    fragFails: largest((delta) => delta.counters['IpFragFails'] ?? 0),
    linkDropped: largest((delta) => topDevice(delta, linkDrops).dropped),
  };
}

/** Where bad checksums of what this place sends show up: at a socket's stack, or as INVALID in a node's conntrack. */
function checksumFacts(evidence: Evidence, window: Window, place: Place): { bad: number; at: string } {
  let top = { bad: 0, at: '' };
  for (const other of evidence.path.places) {
    if (other.name === place.name) continue;
    const { UdpInCsumErrors = 0, conntrack_invalid = 0 } = otherDelta(window, other);
    const bad = Math.max(UdpInCsumErrors, conntrack_invalid);
    if (bad > top.bad) top = { bad, at: other.name };
  }
  return top;
}

/** Kernel log lines since the first sample; only a full sample has the log, so the newest one that has is taken. */
function logFacts(before: Sample | undefined, evidence: Evidence, place: Place): object {
  const since = fullSample(evidence, place.name)?.uptime ?? before?.uptime ?? 0;
  const lines = evidence.windows.flatMap((window) => window.after.samples[place.name]?.log ?? []);
  const count = (pattern: RegExp): number => lines.filter((line) => line.at >= since && pattern.test(line.text)).length;
  return {
    tableFull: count(/table full/),
    neighbourOverflow: count(/neighbor table overflow/),
    badChecksum: count(/bad checksum/),
  };
}
