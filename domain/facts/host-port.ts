import { type Evidence, type Window, fullSample } from '../evidence.ts';
import { type Entry, flowText, sameFlow } from '../sample.ts';
import type { HostPort, Place } from '../target.ts';
import { unread } from './unread.ts';

/** What a list of pods is called where it is denied: without it the other owners of a port are unknown. */
export const podsListed = 'Pods of all namespaces';

/** UDP host ports of this place, where it is the node that has them, which lead to the target. */
const portsAt = ({ path }: Evidence, { node, address, nodeAddress }: Place): HostPort[] =>
  address === nodeAddress ? (path.hostPorts ?? []).filter((one) => one.node === node) : [];

/** Where kube-proxy's rules on this node lead by address and port; undefined where they were not read. */
const programmedAt = ({ windows }: Evidence, { node }: Place): Record<string, string[]> | undefined =>
  windows[0]?.before.planes?.[node]?.programmed;

/** Why it is not known who has the ports; '' where it is. */
function unknownAt(evidence: Evidence, place: Place): string {
  const names = namesOf(portsAt(evidence, place));
  const unlisted = evidence.windows[0]?.before.cluster?.denied[podsListed];
  if (unlisted !== undefined) return `which pods have ${names} could not be listed: ${unlisted}`;
  return programmedAt(evidence, place) === undefined
    ? `whether a Service has ${names} as its node port could not be read on ${place.node}`
    : '';
}

/** Those that no Service has for its node port: kube-proxy leads such a port to the Service's endpoints. */
function ownAt(evidence: Evidence, place: Place): HostPort[] {
  const programmed = programmedAt(evidence, place) ?? {};
  const ofService = ({ addresses, port }: HostPort): boolean =>
    addresses.some((address) => Object.hasOwn(programmed, `${address}:${port}`));
  return unknownAt(evidence, place) ? [] : portsAt(evidence, place).filter((one) => !ofService(one));
}

const namesOf = (ports: HostPort[]): string =>
  ports.map(({ addresses, port }) => `${addresses[0] ?? ''}:${port}`).join(', ');

const asks = (entry: Entry, { addresses, port }: HostPort): boolean =>
  entry.destinationPort === port && addresses.includes(entry.destination);

/** A pod of the node's own network answers by whichever of the node's addresses was asked. */
const leadsToOwner = (entry: Entry, { addresses, owners }: HostPort): boolean =>
  owners.some(
    ({ address, port }) =>
      entry.replySourcePort === port &&
      (entry.replySource === address || (addresses.includes(address) && entry.replySource === entry.destination)),
  );

/**
 * Entries of the target's host ports that lead to no pod which has the port now. Only those of the node that has the port:
 * on the client's node the same flow is rightly not rewritten. None where it is not known who has the port.
 */
export function staleHostEntries(evidence: Evidence, place: Place): Entry[] {
  const ports = ownAt(evidence, place);
  return (fullSample(evidence, place.name)?.entries ?? []).filter((entry) => {
    const asked = ports.filter((one) => asks(entry, one));
    return asked.length > 0 && !asked.some((one) => leadsToOwner(entry, one));
  });
}

/** Whether the application that this entry's flow is meant for may be probed. */
export const echoesAt = ({ path }: Evidence, entry: Entry): boolean =>
  (path.hostPorts ?? []).some((one) => one.probe === 'echo' && asks(entry, one));

/**
 * Joins conntrack entries of the target's UDP host ports with the pods that have these ports now. No counter moves for an
 * entry that leads to a pod which is gone.
 * @param probed the stale flow that a probe is sent on, if there is one
 */
export function hostPortFacts(evidence: Evidence, window: Window, place: Place, probed: Entry | undefined): object {
  if (!evidence.path.hostPorts || !evidence.windows[0]?.before.cluster)
    return unread('the target is no pod of a cluster, so its host ports are not known');
  const ports = portsAt(evidence, place);
  const unknown = ports.length ? unknownAt(evidence, place) : '';
  if (unknown) return unread(unknown);
  const own = ownAt(evidence, place);
  const sample = fullSample(evidence, place.name);
  if (own.length && (!sample || 'entries' in sample.missing))
    return unread(`conntrack entries could not be listed here: ${sample?.missing['entries'] ?? 'no sample'}`);
  const stale = staleHostEntries(evidence, place);
  if (own.length && sample?.cut.includes('entries') && stale.length === 0)
    return unread('the list of conntrack entries was cut, and none of those seen is stale');
  const ours = stale.find((entry) => probed && sameFlow(entry, probed));
  const shown = ours ?? stale[0];
  const fresh = evidence.windows.find((one) => one.step === 'hostport')?.probe;
  const owners = ports.flatMap((one) => one.owners.map(({ pod, address }) => `${pod} (${address})`));
  return {
    ports: ports.length,
    names: namesOf(ports),
    owners: [...new Set(owners)].join(', '),
    nodePort: ports.length > 0 && own.length === 0,
    entries: stale.length,
    lost: ours && window.step === 'flow' ? (window.probe?.lost ?? 0) : 0,
    ours: ours !== undefined,
    to: shown?.replySource ?? '',
    flow: shown ? flowText(shown) : '',
    fresh: { sent: fresh?.sent ?? 0, lost: fresh?.lost ?? 0, answered: fresh?.answered ?? 0 },
  };
}
