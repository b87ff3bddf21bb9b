import { shown, template } from './cel.ts';
import { type Evidence, type Window, fullSample, passiveStep, watchedWindow } from './evidence.ts';
import { factsAt } from './facts/facts.ts';
import { waysOf } from './facts/way.ts';
import { judgeCoded } from './judge-coded.ts';
import { reasonOf, truth } from './judge-conditions.ts';
import { type Make, enough, strongest } from './judge-verdict.ts';
import { judgeWindow } from './judge-window.ts';
import { addProbes } from './probe-result.ts';
import type { Cause } from './runbook.ts';
import { significant, wilson } from './statistics.ts';
import type { Place } from './target.ts';
import type { Verdict } from './verdict.ts';

/** Steps that lost fewer than three each have lost something when it adds up: three or more, surely above 1 in 1,000. */
export const addsUp = (lost: number, sent: number): boolean =>
  significant(lost) && sent > 0 && wilson(lost, sent).low > 0.001;

/** Judges one cause at one place over all windows. The strongest window decides. */
export function judgeCause(cause: Cause, evidence: Evidence, place: Place): Verdict {
  const taken = evidence.windows.filter(
    (window) => window.probe && (!cause.steps || cause.steps.includes(window.step)),
  );
  const verdict: Make = (kind, says, more = {}) => ({
    cause: cause.id, place: place.name, kind, says, step: '', lost: 0, counted: 0, counter: '', proves: [], ...more,
  }); // prettier-ignore
  if (taken.length === 0)
    return verdict(
      'untested',
      cause.steps
        ? `needs the step ${cause.steps.filter((step) => step !== passiveStep).join(' or ')}, which was not taken`
        : 'no probe could be sent',
    );
  const judged = cause.machineWide ? machinesPlace(evidence, place) : place;
  if (judged.name !== place.name)
    return verdict('untested', `its counter is the whole machine's and is judged at ${judged.name}`);
  const whole = watchedWindow(evidence);
  const windows = whole ? [whole] : taken.filter((window) => window.chip === undefined);
  const lossy = windows.filter((window) => significant(window.probe?.lost ?? 0));
  const coded = judgeCoded(cause, evidence, place, lossy, verdict);
  if (lossy.length === 0) return coded ?? lossless(cause, evidence, place, taken, verdict);
  const verdicts = lossy.map((window) =>
    strongest(waysOf(place).map((way) => judgeWindow(cause, evidence, window, place, { way }, verdict))),
  );
  const best = strongest(verdicts);
  const decides = coded && best.kind === 'suspected' ? coded : best;
  if (decides.kind !== 'proved') return decides;
  const proves = [
    ...(coded?.kind === 'proved' ? coded.proves : []),
    ...verdicts.flatMap(({ kind, step, lost, counted, share }) =>
      kind === 'proved' ? [{ step, lost, counted, ...(share && { share }) }] : [],
    ),
  ];
  return { ...decides, proves: [...proves, ...alike(proves, verdicts, evidence)] };
}

/**
 * Steps of a cause that others prove, where traffic of users moves its counter so much that it cannot be held against the
 * loss. They count as its when the counter moved no less than was lost, and no larger share was lost than where it is proved:
 * what is above that may be another's, unless the counter moved by just that much more than other traffic does by chance.
 */
function alike(proofs: Verdict['proves'], verdicts: readonly Verdict[], { windows }: Evidence): Verdict['proves'] {
  const probe = (step: string): { sent: number; lost: number } =>
    addProbes(windows.flatMap((window) => (window.step === step && window.probe ? [window.probe] : [])));
  const rate = (step: string): { low: number; high: number } => wilson(probe(step).lost, probe(step).sent);
  const most = Math.max(...proofs.map(({ step }) => rate(step).high));
  // A counter that was held against the requests alone says nothing of the replies.
  const whole = proofs.every(({ step, lost }) => lost === probe(step).lost);
  return verdicts.flatMap(({ kind, step, lost: against, beyond, among = 0 }) => {
    const lost = whole ? probe(step).lost : against;
    if (kind !== 'suspected' || among < enough * lost) return [];
    return beyond || rate(step).low <= most ? [{ step, lost, counted: lost, among }] : [];
  });
}

/** The place at which a counter of the whole machine is judged: the node's own namespace, if that is on the path. */
function machinesPlace({ path, ...evidence }: Evidence, place: Place): Place {
  const bootOf = (one: Place): string | undefined => fullSample({ path, ...evidence }, one.name)?.bootId;
  const boot = bootOf(place);
  const same = path.places.filter((one) => boot !== undefined && bootOf(one) === boot);
  return same.find((one) => one.netns === undefined && one.pid === undefined) ?? same[0] ?? place;
}

/** Nothing of ours was lost, so there is nothing to explain; but what loses others' datagrams is told. */
function lossless(cause: Cause, evidence: Evidence, place: Place, taken: Window[], make: Make): Verdict {
  const [window] = taken;
  if (cause.othersLoss && window)
    try {
      const facts = factsAt(evidence, window, place);
      const unmetNeed = cause.needs.find((need) => !truth(need.that, facts));
      if (unmetNeed) return make('untested', template(unmetNeed.says)(facts));
    } catch (error) {
      return make('untested', reasonOf(error, evidence, place));
    }
  const sent = taken.reduce((sum, one) => sum + (one.probe?.sent ?? 0), 0);
  const lost = taken.reduce((sum, one) => sum + (one.probe?.lost ?? 0), 0);
  if (addsUp(lost, sent))
    return make('untested', `${lost} of ${shown(sent)} lost in ${stepNames(taken)}: too few in any of them to tell`);
  return make('refuted', `${lost} of ${shown(sent)} lost in ${stepNames(taken)}: there is nothing for it to explain`);
}

const stepNames = (windows: Window[]): string => [...new Set(windows.map(({ step }) => step))].join(', ');
