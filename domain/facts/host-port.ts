import { type Evidence, type Window, fullSample } from '../evidence.ts';
import type { Entry } from '../sample.ts';
import type { HostPort, Place } from '../target.ts';
import { unread } from './unread.ts';

/** Reading this list fails as a whole: without it a port's other owners are unknown. */
export const podsListed = 'Pods of all namespaces';

/** Host ports that lead to the target from this place's node; one that a Service has for its node port is not among them. */
const portsAt = (evidence: Evidence, { node }: Place): HostPort[] =>
  (evidence.path.hostPorts ?? []).filter((one) => one.node === node && !isNodePort(evidence, one));

/** Whether kube-proxy's rules on the node lead the port to a Service. */
const isNodePort = (evidence: Evidence, { node, addresses, port }: HostPort): boolean => {
  const programmed = evidence.windows[0]?.before.planes?.[node]?.programmed ?? {};
  return addresses.some((address) => Object.hasOwn(programmed, `${address}:${port}`));
};

const leadsHere = (entry: Entry, { addresses, port }: HostPort): boolean =>
  entry.destinationPort === port && addresses.includes(entry.destination);

/** A pod of the node's own network answers by whichever of its addresses was asked. */
const leadsToOwner = (entry: Entry, { addresses, owners }: HostPort): boolean =>
  owners.some(
    ({ address, port }) =>
      entry.replySourcePort === port &&
      (entry.replySource === address || (addresses.includes(address) && entry.replySource === entry.destination)),
  );

/**
 * Entries of the target's host ports that lead to no pod which has the port now. Only those that the node with the port
 * itself tracks: on a client's node the same flow is rightly not rewritten.
 */
export function staleHostEntries(evidence: Evidence, place: Place): Entry[] {
  if (place.address !== place.nodeAddress) return [];
  const ports = portsAt(evidence, place);
  return (fullSample(evidence, place.name)?.entries ?? []).filter((entry) => {
    const asked = ports.filter((one) => leadsHere(entry, one));
    return asked.length > 0 && !asked.some((one) => leadsToOwner(entry, one));
  });
}

/** Whether the application that this entry's flow was meant for may be probed. */
export const echoesAt = ({ path }: Evidence, entry: Entry): boolean =>
  (path.hostPorts ?? []).some((one) => one.probe === 'echo' && leadsHere(entry, one));

/**
 * Joins conntrack entries of the target's UDP host ports with the pods that have these ports now. No counter moves for an
 * entry that leads to a pod which is gone.
 * @param probed the stale flow that a probe was sent on, if there is one
 */
export function hostPortFacts(evidence: Evidence, window: Window, place: Place, probed: Entry | undefined): object {
  const first = evidence.windows[0]?.before;
  const { hostPorts } = evidence.path;
  if (!hostPorts || !first?.cluster) return unread('the target is not in a cluster, so its host ports are not known');
  const ports = hostPorts.filter(({ node }) => node === place.node && place.address === place.nodeAddress);
  const names = ports.map(({ addresses, port }) => `${addresses[0] ?? ''}:${port}`).join(', ');
  const fresh = evidence.windows.find((one) => one.step === 'hostport')?.probe;
  const facts = {
    ports: ports.length,
    names,
    owners: [...new Set(ports.flatMap(({ owners }) => owners.map(({ pod, address }) => `${pod} (${address})`)))].join(', '),
    nodePort: ports.length > 0 && portsAt(evidence, place).length === 0,
    fresh: { sent: fresh?.sent ?? 0, lost: fresh?.lost ?? 0, answered: fresh?.answered ?? 0 },
    entries: 0, lost: 0, ours: false, to: '', flow: '',
  }; // prettier-ignore
  if (ports.length === 0) return facts;
  const unlisted = first.cluster.denied[podsListed];
  if (unlisted !== undefined) return unread(`which pods have ${names} could not be listed: ${unlisted}`);
  const plane = first.planes?.[place.node];
  if (!plane?.programmed)
    return unread(`whether a Service has ${names} as its node port could not be read on ${place.node}`);
  if (facts.nodePort) return facts;
  const sample = fullSample(evidence, place.name);
  if (!sample || 'entries' in sample.missing)
    return unread(`conntrack entries could not be listed here: ${sample?.missing['entries'] ?? 'no sample'}`);
  const stale = staleHostEntries(evidence, place);
  if (sample.cut.includes('entries') && stale.length === 0)
    return unread('the list of conntrack entries was cut, and none of those seen is stale');
  const ours = stale.find((entry) => probed && entry.source === probed.source && entry.sourcePort === probed.sourcePort && entry.destination === probed.destination && entry.destinationPort === probed.destinationPort); // prettier-ignore
  const shown = ours ?? stale[0];
  return {
    ...facts,
    entries: stale.length,
    lost: ours && window.step === 'flow' ? (window.probe?.lost ?? 0) : 0,
    ours: ours !== undefined,
    to: shown?.replySource ?? '',
    flow: shown ? `${shown.source}:${shown.sourcePort} -> ${shown.destination}:${shown.destinationPort}` : '',
  };
}
