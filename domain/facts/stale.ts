import { frontendsOf } from '../cluster.ts';
import { type Evidence, type Window, fullSample, passiveStep } from '../evidence.ts';
import type { ProbeResult } from '../probe-result.ts';
import { type Ends, type Entry, flowText, sameFlow } from '../sample.ts';
import type { PathService, Place } from '../target.ts';
import { echoesAt, staleHostEntries } from './host-port.ts';
import { unread } from './unread.ts';

/** Stale entries of one kind: `dead` lead to what is no endpoint, `untranslated` to the Service's own address. */
type StaleKind = 'dead' | 'untranslated';

interface StaleFlows {
  entries: number;
  /** Marked datagrams of this window that were sent on such a flow and lost. */
  lost: number;
  /** Whether one of these flows starts at the sender, so that it can be probed. */
  ours: boolean;
  /** Where the entries send them. */
  to: string;
  flow: string;
}

/**
 * Joins conntrack entries of a Service with its endpoints: an entry that answers from an address which is no endpoint
 * sends its flow to nowhere for as long as the client keeps its source port. No counter moves for that.
 */
export function staleFacts(
  evidence: Evidence,
  window: Window,
  place: Place,
): Record<StaleKind, StaleFlows> & { endpoints: number; fresh: Fresh } {
  const { service } = evidence.path;
  const sample = fullSample(evidence, place.name);
  if (!service) return unread('the target is no Service with endpoints');
  if (!sample || 'entries' in sample.missing)
    return unread(`conntrack entries could not be listed here: ${sample?.missing['entries'] ?? 'no sample'}`);
  const all = serviceEntries(evidence, place);
  if (sample.cut.includes('entries') && all.length === 0)
    return unread('the list of conntrack entries was cut, and none of those seen is stale');
  if (window.step === passiveStep) return watchedStale(evidence, window, all);
  const probed = probedFlow(evidence);
  const of = (kind: StaleKind): StaleFlows => {
    const stale = all.filter((entry) => kindOf(entry) === kind);
    const ours = stale.find((entry) => probed && sameFlow(entry, probed));
    const shown = ours ?? stale[0];
    return {
      entries: stale.length,
      lost: ours && window.step === 'flow' ? (window.probe?.lost ?? 0) : 0,
      ours: ours !== undefined,
      to: shown?.replySource ?? '',
      flow: shown ? flowText(shown) : '',
    };
  };
  // New flows through the Service; where its application is not to be probed, to the endpoint itself.
  const fresh = ['service', 'small'].flatMap(
    (step) => evidence.windows.find((one) => one.step === step && one.probe)?.probe ?? [],
  )[0] ?? { sent: 0, lost: 0, answered: 0 };
  const says = `fresh ports work (${fresh.answered} of ${fresh.sent})`;
  return {
    dead: of('dead'),
    untranslated: of('untranslated'),
    fresh: { ...fresh, says },
    endpoints: service.endpoints.length,
  };
}

/** What was sent on other flows than the stale ones, and how that is said where it works. */
type Fresh = Pick<ProbeResult, 'sent' | 'lost' | 'answered'> & { says: string };

/** The same where users' flows were watched: what each of them lost is known, so none has to be probed. */
function watchedStale(
  evidence: Evidence,
  { probe }: Window,
  all: readonly Entry[],
): Record<StaleKind, StaleFlows> & { endpoints: number; fresh: Fresh } {
  const onStale = flowsOn(all);
  const of = (kind: StaleKind): StaleFlows => {
    const stale = all.filter((entry) => kindOf(entry) === kind);
    const on = flowsOn(stale);
    // A flow that gets through has another entry by now.
    const dead = (probe?.watched?.flows ?? []).filter((flow) => on(flow) && flow.lost >= 0.9 * flow.sent);
    const shown = stale.find((entry) => dead.some((flow) => sameFlow(entry, flow))) ?? stale[0];
    return {
      entries: stale.length,
      lost: dead.reduce((sum, { lost }) => sum + lost, 0),
      // Those of other clients are not on this path; a flow on which nothing was sent loses nothing.
      ours: dead.length > 0,
      to: shown?.replySource ?? '',
      flow: shown ? flowText(shown) : '',
    };
  };
  const { flows = [], others = { sent: 0, lost: 0 } } = probe?.watched ?? {};
  const rest = flows.filter((flow) => !onStale(flow));
  const sent = rest.reduce((sum, one) => sum + one.sent, others.sent);
  const lost = rest.reduce((sum, one) => sum + one.lost, others.lost);
  const says = sent > 0 ? `other flows work (${sent - lost} of ${sent} arrived)` : 'no other flow was seen';
  const fresh = { sent, lost, answered: sent - lost, says };
  const endpoints = evidence.path.service?.endpoints.length ?? 0;
  return { dead: of('dead'), untranslated: of('untranslated'), fresh, endpoints };
}

/** Whether a flow goes by one of these entries. */
export function flowsOn(entries: readonly Entry[]): (flow: Ends) => boolean {
  return (flow) => entries.some((entry) => sameFlow(entry, flow));
}

const kindOf = (entry: Entry): StaleKind => (entry.replySource === entry.destination ? 'untranslated' : 'dead');

/**
 * The stale flow of the sender that a probe is sent on: undrop can only send in the sender's own name, and only to an
 * application that may be probed. Of several it is the one that expires last: others may be gone, with their loss, before
 * a plan is approved.
 */
export function probedFlow(evidence: Evidence): Entry | undefined {
  const { places, service } = evidence.path;
  const ours = places
    .flatMap((place) => staleEntries(evidence, place))
    .filter((entry) => entry.source === places[0]?.address)
    .filter((entry) =>
      isOf(service, entry) ? service?.probe === 'echo' || service?.probe === 'dns' : echoesAt(evidence, entry),
    );
  return ours.toSorted((a, b) => b.timeout - a.timeout)[0];
}

/** The stale entries themselves, of the Service and of the target's host ports, for deleting exactly them. */
export function staleEntries(evidence: Evidence, place: Place): Entry[] {
  const ofService = serviceEntries(evidence, place);
  const { service } = evidence.path;
  return [...ofService, ...staleHostEntries(evidence, place).filter((entry) => !isOf(service, entry))];
}

const isOf = (service: PathService | undefined, { destination, destinationPort }: Entry): boolean =>
  service !== undefined &&
  frontendsOf(service).some(({ address, port }) => destination === address && destinationPort === port);

function serviceEntries(evidence: Evidence, place: Place): Entry[] {
  const { service } = evidence.path;
  if (!service) return [];
  const alive = (entry: Entry): boolean =>
    service.endpoints.some(({ address, port }) => entry.replySource === address && entry.replySourcePort === port);
  const entries = fullSample(evidence, place.name)?.entries ?? [];
  return entries.filter((entry) => isOf(service, entry) && !alive(entry));
}
