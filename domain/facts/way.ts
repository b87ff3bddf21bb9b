import { type Delta, type Evidence, type Window, deltaOf, fullSample, passiveStep } from '../evidence.ts';
import type { Sample } from '../sample.ts';
import { type Path, type Place, receiverOf } from '../target.ts';
import { mostLinkDrops } from './moved.ts';
import { Unseen, unread } from './unread.ts';

/** Which way a place's facts look: `out` to the far end, `back` to the near one. A hop looks both ways, one at a time. */
export type Way = 'out' | 'back';

export const waysOf = ({ role }: Place): Way[] =>
  role === 'hop' ? ['out', 'back'] : [role === 'receiver' ? 'back' : 'out'];

/** What changed at a place in a window, by the names of the path's family. @throws Unseen where that is not known */
export function deltaAt({ path }: Evidence, window: Window, name: string): Delta {
  const [before, after] = [window.before.samples[name], window.after.samples[name]];
  if (!before || !after)
    throw new Unseen(window.after.failed[name] ?? window.before.failed[name] ?? `${name} was not sampled`);
  const delta = deltaOf(before, after);
  if ('void' in delta) throw new Unseen(`void at ${name}: ${delta.void}`);
  return { ...delta, counters: ofFamily(path, delta.counters) };
}

/** Counters and settings of IPv4 alone: what counts IPv6 has the same name with a 6, or there is none. */
const v4Only = /^((Udp|Ip|Icmp)(?!6)|IpExt|TcpExtIP|neigh_|frag_|ipfrag_|rp_filter_|ip_)/;

/**
 * Counters and settings as they are for the path's family: causes name IPv4's, and on an IPv6 path these are IPv6's own.
 * What has no counterpart is absent there, so that IPv4's standing still says nothing.
 */
export function ofFamily(path: Path, numbers: Record<string, number>): Record<string, number> {
  if (!path.places[0]?.address.includes(':')) return numbers;
  const six = Object.fromEntries(
    Object.entries(numbers).flatMap(([name, value]) =>
      v4Only.test(name) ? [] : [[name.replace(/^(Udp|Ip|Icmp)6/, '$1'), value]],
    ),
  );
  // IPv4 says "too big" by a kind of "destination unreachable", IPv6 by a message of its own.
  const { IcmpInPktTooBigs, IcmpInDestUnreachs } = six;
  if (IcmpInPktTooBigs === undefined) return six;
  return { ...six, IcmpInDestUnreachs: IcmpInPktTooBigs + (IcmpInDestUnreachs ?? 0) };
}

/**
 * Where a place sends the probes on. Between the two ends of a tunnel packets are for the far node; the pods behind it are
 * nothing to such a hop.
 */
function destinationOf(evidence: Evidence, place: Place, way: Way): string {
  const [sender] = evidence.path.places;
  // A receiver other than the probed one answers from where it is itself.
  const receiver = place.role === 'receiver' ? place : receiverOf(evidence.path);
  const [near, far] = way === 'back' ? [receiver, sender] : [sender, receiver];
  if (!near || !far) return '';
  const between = place.role === 'hop' && place.node !== near.node && place.node !== far.node;
  const tunnel = evidence.path.places.find((one) => one.role === 'hop' && one.node === near.node);
  const tunnelled = between && tunnel && tunnelOf(fullSample(evidence, tunnel.name), far.address, tunnels) !== '';
  return tunnelled ? far.nodeAddress : far.address;
}

/** Whether one end's node sends past the overlay by which the other end's node answers. */
function strays(evidence: Evidence, place: Place, way: Way): boolean {
  const { places } = evidence.path;
  const [near, far] = [places[0], receiverOf(evidence.path)];
  if (!near || !far || near.node === far.node || place.role !== 'hop') return false;
  const [here, there, from, to] = way === 'out' ? [near, far, near, far] : [far, near, far, near];
  const other = places.find((one) => one.role === 'hop' && one.node === there.node);
  if (place.node !== here.node || !other) return false;
  const back = tunnelOf(fullSample(evidence, other.name), from.address, tunnels);
  return back !== '' && tunnelOf(fullSample(evidence, place.name), to.address, tunnels) === '';
}

/** Kinds of devices that wrap packets into others, for the far node. */
const tunnels = ['vxlan', 'geneve', 'gre', 'ipip', 'sit', 'wireguard'];

/** The tunnel's device by which a destination is reached, or ''. */
function tunnelOf(sample: Sample | undefined, destination: string, kinds: readonly string[]): string {
  const device = sample?.routes[destination]?.device;
  return sample?.links.find((link) => link.name === device && kinds.includes(link.kind))?.name ?? '';
}

/** Of the tunnels only VXLAN is known to leave the checksums of what it wraps to hardware. */
const vxlanOf = (sample: Sample | undefined, destination: string): string => tunnelOf(sample, destination, ['vxlan']);

/** The facts that depend on the way: where it goes on, who is next, what leaves checksums to hardware, what was lost on it. */
export function wayFacts(evidence: Evidence, window: Window, place: Place, full: Sample, after: Sample, way: Way) {
  const destination = destinationOf(evidence, place, way);
  const route = full.routes[destination];
  return {
    toward: { ...towardFacts(window, way), spread: spreads(evidence, window) },
    route: route
      ? { device: route.device, error: route.error, to: destination, strays: strays(evidence, place, way) }
      : unread(`the route to ${destination} could not be read: ${full.missing['routes'] ?? 'it was not asked for'}`),
    neighbour: neighbourFacts(after, route?.via ?? destination),
    offload: offloadFacts(full, destination),
    checksums: checksumFacts(evidence, window, place, way),
    software: softwareFacts(evidence, way === 'back' ? 'checksum-reverse' : 'checksum'),
    softwareIn: softwareFacts(evidence, way === 'back' ? 'checksum' : 'checksum-reverse'),
  };
}

/**
 * What went this way and how much of it was lost: requests, or in the other direction answers. Where undrop did not receive
 * itself, the direction of a loss is unknown, and all of it may have been on this way.
 */
function towardFacts({ probe, step }: Window, way: Way): { sent: number; lost: number } {
  if (!probe) return { sent: 0, lost: 0 };
  if (!probe.oneWay) return { sent: probe.sent, lost: probe.lost };
  const requests = (way === 'out') !== step.endsWith('reverse');
  if (probe.watched)
    return requests
      ? { sent: probe.watched.requests, lost: probe.requestLost }
      : { sent: probe.watched.replies, lost: probe.replyLost };
  return requests
    ? { sent: probe.sent, lost: probe.requestLost }
    : { sent: probe.sent - probe.requestLost, lost: probe.replyLost };
}

/** Whether what was sent went to several endpoints: then how much of it went by one hop is unknown. */
function spreads({ path }: Evidence, { step }: Window): boolean {
  return (
    ['service', 'nodeport', 'oneway', 'oneway-nodeport', passiveStep].includes(step) &&
    (path.service?.endpoints.length ?? 0) > 1
  );
}

/** Whether the next hop fails to resolve, after what was sent. */
function neighbourFacts({ neighbours, missing, cut }: Sample, nextHop: string): object {
  const failed = neighbours.find((one) => /FAILED|INCOMPLETE/.test(one.state) && one.address === nextHop);
  if (failed) return { failed: true, address: failed.address, device: failed.device };
  const why = missing['neighbours'] ?? (cut.includes('neighbours') ? 'the list was cut' : undefined);
  if (why !== undefined) return unread(`neighbours could not be read: ${why}`);
  return { failed: false, address: nextHop, device: '' };
}

/** The device that leaves checksums to hardware on the way out: the overlay's where there is one. */
function offloadFacts(sample: Sample, destination: string): object {
  const overlay = vxlanOf(sample, destination);
  const device = overlay || (sample.routes[destination]?.device ?? '');
  const features = sample.features[device];
  if (!features)
    return unread(
      `offloads of ${device || 'the device'} could not be read: ${sample.missing['features'] ?? 'it is not listed'}`,
    );
  const checksum = ['tx-checksum-ip-generic', 'tx-checksum-ipv4', 'tx-checksumming'].some(
    (name) => features[name] === true,
  );
  return { device, checksum, overlay: overlay !== '' };
}

/** Where bad checksums of what this place sends show up: at a socket's stack, or as INVALID in a node's conntrack. */
function checksumFacts(evidence: Evidence, window: Window, place: Place, way: Way): object {
  const { path } = evidence;
  const own = path.places.findIndex(({ name }) => name === place.name);
  const later = way === 'back' ? path.places.slice(0, own) : path.places.slice(own + 1);
  let top = { bad: 0, at: '' };
  let unseen = '';
  for (const { name } of later) {
    try {
      const { UdpInCsumErrors = 0, conntrack_invalid = 0 } = deltaAt(evidence, window, name).counters;
      const bad = Math.max(UdpInCsumErrors, conntrack_invalid);
      if (bad > top.bad) top = { bad, at: name };
    } catch (error) {
      if (!(error instanceof Unseen)) throw error;
      unseen ||= `${name} was not seen: ${error.message}`;
    }
  }
  return unseen && top.bad === 0 ? unread(unseen) : top;
}

/** What became of datagrams whose checksum undrop computed itself; answers go the other way and tell nothing of this one. */
function softwareFacts(evidence: Evidence, step: string): object {
  const probe = evidence.windows.find((window) => window.step === step)?.probe;
  if (!probe) return unread(`the step ${step} was not taken`);
  return { sent: probe.sent, lost: probe.requestLost, arrived: probe.sent - probe.requestLost };
}

/** What any place of the path says of the whole way. */
export function pathFacts(evidence: Evidence, window: Window): object {
  const { path } = evidence;
  const overlay = path.places.some((one) => {
    const sample = fullSample(evidence, one.name);
    return waysOf(one).some((way) => vxlanOf(sample, destinationOf(evidence, one, way)) !== '');
  });
  // A hop that has reported in one sweep over sizes may be silent in the next: the sender remembers.
  const kind = window.step.split('-')[0];
  const alike = evidence.windows.filter(({ step }) => step.split('-')[0] === kind);
  return {
    overlay,
    /** Whether the application is a DNS server. */
    dns: path.service?.probe === 'dns',
    /** Reports of packets as too big, by the hop that reported most. */
    get fragFails() {
      return most(evidence, alike, ({ counters }) => counters['IpFragFails'] ?? 0);
    },
    /** Frames that the sending end of one device dropped. */
    get linkDropped() {
      return most(evidence, [window], mostLinkDrops);
    },
  };
}

/** The most that any place counted. @throws Unseen where none counted anything and one could not be seen */
function most(evidence: Evidence, windows: readonly Window[], pick: (delta: Delta) => number): number {
  let top = 0;
  let unseen = '';
  for (const window of windows)
    for (const { name } of evidence.path.places)
      try {
        top = Math.max(top, pick(deltaAt(evidence, window, name)));
      } catch (error) {
        if (!(error instanceof Unseen)) throw error;
        unseen ||= `${name} was not seen in ${window.step}`;
      }
  if (top === 0 && unseen) throw new Unseen(unseen);
  return top;
}
