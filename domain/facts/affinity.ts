import type { EndpointView, ServiceView } from '../cluster.ts';
import type { Evidence } from '../evidence.ts';
import { significant } from '../statistics.ts';
import { Unseen, unread } from './unread.ts';

const serviceOf = ({ windows }: Evidence): ServiceView | undefined => windows[0]?.before.cluster?.service;
const named = ({ address, port }: Pick<EndpointView, 'address' | 'port'>): string => `${address}:${port}`;

/** The endpoints among which session affinity chooses once for each client; none where the Service has no affinity. */
function chosenFrom(evidence: Evidence): EndpointView[] {
  const service = serviceOf(evidence);
  return service?.affinity === 'ClientIP' ? service.endpoints.filter(({ serving }) => serving) : [];
}

/** Whether asking each endpoint by itself can tell something: the Service keeps a client on one of several, and loses. */
export function affinityToTest(evidence: Evidence): boolean {
  const lost = evidence.windows.find(({ step }) => step === 'service')?.probe?.lost ?? 0;
  return chosenFrom(evidence).length > 1 && significant(lost);
}

/** The newest reading of whom the node of the sender keeps it on, and when that was. What is sent in between may bind it. */
function readingOf({ path, windows }: Evidence): { endpoint?: string; at: number; why: string } {
  const [sender] = path.places;
  const frontend = `${path.service?.address ?? ''}:${path.service?.port ?? 0}`;
  const edges = [...windows.map(({ after }) => after).toReversed(), ...(windows[0] ? [windows[0].before] : [])];
  for (const { at, planes } of edges) {
    const plane = planes?.[sender?.node ?? ''];
    const endpoint = plane?.bound?.[frontend];
    if (endpoint !== undefined) return { endpoint, at, why: '' };
    if (plane) return { at, why: Object.values(plane.missing).join('; ') || `mode ${plane.mode || 'unknown'}` };
  }
  return { at: 0, why: 'kube-proxy there was not looked at' };
}

/** `address:port` of the endpoint kept for the sender, '' where none is. @throws Unseen where that could not be read */
function boundIn(evidence: Evidence): string {
  const { endpoint, why } = readingOf(evidence);
  if (endpoint === undefined) throw new Unseen(`which endpoint is kept for the sender could not be read: ${why}`);
  return endpoint;
}

/**
 * The endpoints to ask directly: the one that affinity keeps for the sender, or all others.
 * @throws Unseen where that is not known
 */
export function endpointsByAffinity(evidence: Evidence, which: 'pinned' | 'others'): EndpointView[] {
  const endpoint = boundIn(evidence);
  if (endpoint === '') throw new Unseen('no endpoint is kept for the sender on its node');
  const found = chosenFrom(evidence).filter((one) => (named(one) === endpoint) === (which === 'pinned'));
  // Nothing is sent to an address that may be somebody else's by now.
  if (found.length === 0) throw new Unseen(`${endpoint}, which is kept for the sender, is no endpoint that serves`);
  return found;
}

/** Session affinity of the Service for this sender: whom it is kept on, until when, and what the endpoints lose by themselves. */
export function affinityFacts(evidence: Evidence): object {
  const service = serviceOf(evidence);
  if (!service) return unread('the target is no Service of a cluster');
  const asked = (name: string): { taken: boolean; sent: number; lost: number } => {
    const probe = evidence.windows.find(({ step }) => step === name)?.probe;
    return { taken: probe !== undefined, sent: probe?.sent ?? 0, lost: probe?.lost ?? 0 };
  };
  return {
    on: service.affinity === 'ClientIP',
    seconds: service.affinitySeconds,
    endpoints: chosenFrom(evidence).length,
    client: evidence.path.places[0]?.address ?? '',
    /** `address:port`; '' where the node keeps none for this client. */
    get bound() {
      return boundIn(evidence);
    },
    /** The same in words; that it could not be read says whoever needs it. */
    to: readingOf(evidence).endpoint || 'no endpoint in particular',
    /** Rules that are out of date keep clients on endpoints that are gone. */
    get serves() {
      return chosenFrom(evidence).some((one) => named(one) === boundIn(evidence));
    },
    /** The probes have renewed it when it was read. */
    get until() {
      return new Date(readingOf(evidence).at + service.affinitySeconds * 1000).toISOString().replace(/\.\d+Z$/, 'Z');
    },
    pinned: asked('pinned'),
    others: asked('others'),
  };
}
