import { frontendsOf } from '../cluster.ts';
import { type Evidence, type Window, passiveStep } from '../evidence.ts';
import type { FlowLoss } from '../watched.ts';
import { flowsOn, staleEntries } from './stale.ts';
import { unread } from './unread.ts';

/** What the watched flows to the Service's addresses lost, all of them and those without a stale entry. */
export function flowFacts(evidence: Evidence, { step, probe }: Window): object {
  const { service, places } = evidence.path;
  if (step !== passiveStep || !probe?.watched) return unread('flows are known only where traffic was watched');
  if (!service) return unread('the target is no Service');
  const frontends = frontendsOf(service);
  const toService = ({ destination, destinationPort }: FlowLoss): boolean =>
    frontends.some(({ address, port }) => address === destination && port === destinationPort);
  const stale = flowsOn(places.flatMap((place) => staleEntries(evidence, place)));
  const sum = (flows: readonly FlowLoss[]): { sent: number; lost: number } => ({
    sent: flows.reduce((all, { sent }) => all + sent, 0),
    lost: flows.reduce((all, { lost }) => all + lost, 0),
  });
  const flows = probe.watched.flows.filter(toService);
  return { service: sum(flows), fresh: sum(flows.filter((flow) => !stale(flow))) };
}
