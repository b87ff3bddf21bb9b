import { type Evidence, type Window, fullSample } from './evidence.ts';
import type { Entry } from './sample.ts';
import type { Place } from './target.ts';

export interface StaleFlows {
  entries: number;
  /** Marked datagrams of this window that were sent on such a flow and lost. */
  lost: number;
  /** Where the entries send them: the dead endpoint, or the Service's own address when no DNAT took place. */
  to: string;
  noDnat: boolean;
  flow: string;
  /** Whether there was anything to join: a Service with endpoints and a readable conntrack table. */
  known: boolean;
}

/**
 * Joins conntrack entries of a Service with its endpoints: an entry that answers from an address which is no endpoint
 * sends its flow to nowhere for as long as the client keeps its source port. No counter moves for that.
 */
export function staleFlows(evidence: Evidence, window: Window, place: Place): StaleFlows {
  const { service } = evidence.path;
  const sample = fullSample(evidence, place.name);
  const none = { entries: 0, lost: 0, to: '', noDnat: false, flow: '', known: false };
  if (!service || service.endpoints.length === 0 || !sample || 'entries' in sample.missing) return none;
  const stale = staleEntries(evidence, place);
  const [first] = stale;
  if (!first) return { ...none, known: true };
  return {
    entries: stale.length,
    lost: window.step === 'flow' ? (window.probe?.lost ?? 0) : 0,
    to: first.replySource,
    noDnat: first.replySource === first.destination,
    flow: `${first.source}:${first.sourcePort} -> ${first.destination}:${first.destinationPort}`,
    known: true,
  };
}

/** The stale entries themselves, for probing their flow and for deleting exactly them. */
export function staleEntries(evidence: Evidence, place: Place): Entry[] {
  const { service } = evidence.path;
  if (!service || service.endpoints.length === 0) return [];
  const alive = (entry: Entry): boolean =>
    service.endpoints.some(({ address, port }) => entry.replySource === address && entry.replySourcePort === port);
  const entries = fullSample(evidence, place.name)?.entries ?? [];
  return entries.filter(
    (entry) => entry.destination === service.address && entry.destinationPort === service.port && !alive(entry),
  );
}
