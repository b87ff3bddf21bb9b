import { type Delta, type Evidence, type Window, deltaOf, fullSample } from '../evidence.ts';
import type { Sample } from '../sample.ts';
import type { Place } from '../target.ts';
import { mostLinkDrops } from './moved.ts';
import { Unseen, unread } from './unread.ts';

/** Which way a place's facts look: `out` to the far end, `back` to the near one. A hop looks both ways, one at a time. */
export type Way = 'out' | 'back';

export const waysOf = ({ role }: Place): Way[] =>
  role === 'hop' ? ['out', 'back'] : [role === 'receiver' ? 'back' : 'out'];

/**
 * Where a place sends the probes on. Between the two ends of a tunnel packets are for the far node; the pods behind it are
 * nothing to such a hop.
 */
function destinationOf(evidence: Evidence, place: Place, way: Way): string {
  const { places } = evidence.path;
  const [near, far] = way === 'back' ? [places.at(-1), places[0]] : [places[0], places.at(-1)];
  if (!near || !far) return '';
  const between = place.role === 'hop' && place.node !== near.node && place.node !== far.node;
  const tunnel = places.find((one) => one.role === 'hop' && one.node === near.node);
  const tunnelled = between && tunnel && vxlanOf(fullSample(evidence, tunnel.name), far.address) !== '';
  return tunnelled ? far.nodeAddress : far.address;
}

function vxlanOf(sample: Sample | undefined, destination: string): string {
  const device = sample?.routes[destination]?.device;
  return sample?.links.find((link) => link.name === device && link.kind === 'vxlan')?.name ?? '';
}

/** The facts that depend on the way: where it goes on, who is next, what leaves checksums to hardware, what was lost on it. */
export function wayFacts(evidence: Evidence, window: Window, place: Place, full: Sample, after: Sample, way: Way) {
  const destination = destinationOf(evidence, place, way);
  const route = full.routes[destination];
  return {
    toward: towardFacts(window, way),
    route: route
      ? { device: route.device, error: route.error, to: destination }
      : unread(`the route to ${destination} could not be read: ${full.missing['routes'] ?? 'it was not asked for'}`),
    neighbour: neighbourFacts(full, after, route?.via ?? destination),
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
  return requests
    ? { sent: probe.sent, lost: probe.requestLost }
    : { sent: probe.sent - probe.requestLost, lost: probe.replyLost };
}

/** Whether the next hop fails to resolve; only full samples have the table. */
function neighbourFacts(full: Sample, after: Sample, nextHop: string): object {
  const all = after.neighbours.length ? after.neighbours : full.neighbours;
  const failed = all.find((one) => /FAILED|INCOMPLETE/.test(one.state) && one.address === nextHop);
  if (failed) return { failed: true, address: failed.address, device: failed.device };
  const why = full.missing['neighbours'] ?? (full.cut.includes('neighbours') ? 'the list was cut' : undefined);
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
function checksumFacts({ path }: Evidence, window: Window, place: Place, way: Way): object {
  const own = path.places.findIndex(({ name }) => name === place.name);
  const later = way === 'back' ? path.places.slice(0, own) : path.places.slice(own + 1);
  let top = { bad: 0, at: '' };
  let unseen = '';
  for (const { name } of later) {
    const [before, after] = [window.before.samples[name], window.after.samples[name]];
    const delta = before && after ? deltaOf(before, after) : undefined;
    if (!delta || 'void' in delta) {
      unseen ||= `${name} was not seen: ${window.after.failed[name] ?? window.before.failed[name] ?? delta?.void ?? ''}`;
      continue;
    }
    const { UdpInCsumErrors = 0, conntrack_invalid = 0 } = delta.counters;
    const bad = Math.max(UdpInCsumErrors, conntrack_invalid);
    if (bad > top.bad) top = { bad, at: name };
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
    /** Reports of packets as too big, by the hop that reported most. */
    get fragFails() {
      return most(path.places, alike, ({ counters }) => counters['IpFragFails'] ?? 0);
    },
    /** Frames that the sending end of one device dropped. */
    get linkDropped() {
      return most(path.places, [window], mostLinkDrops);
    },
  };
}

/** The most that any place counted. @throws Unseen where none counted anything and one could not be seen */
function most(places: readonly Place[], windows: readonly Window[], pick: (delta: Delta) => number): number {
  let top = 0;
  let unseen = '';
  for (const window of windows)
    for (const { name } of places) {
      const [before, after] = [window.before.samples[name], window.after.samples[name]];
      const delta = before && after ? deltaOf(before, after) : undefined;
      if (delta && !('void' in delta)) top = Math.max(top, pick(delta));
      else unseen ||= `${name} was not seen in ${window.step}`;
    }
  if (top === 0 && unseen) throw new Unseen(unseen);
  return top;
}
