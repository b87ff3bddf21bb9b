import { expression, shown, template } from './cel.ts';
import { type Evidence, type Window, controlOf } from './evidence.ts';
import { type Facts, Unseen, factsAt, senderMtu, whyMissing } from './facts.ts';
import type { ProbeResult } from './probe.ts';
import type { Cause } from './runbook.ts';
import { regress, significant } from './statistics.ts';
import type { Place } from './target.ts';
import type { Verdict } from './verdict.ts';

/** A cause is proved when it explains at least this share of the loss at its hop (evidence rule E3) … */
const enough = 0.8;
/** … and at most this one: a counter that moved far more than was lost counts something else as well. */
const tooMuch = 1.25;
/** Below this share a counter that moved is noise beside the loss, and the cause is ruled out with its number. */
const negligible = 0.2;
/** A quiet counter moves at most this share of the loss in the control window; a busier one needs coded probes. */
const quiet = 0.1;

/** Judges one cause at one place over all windows. The strongest window decides. */
export function judgeCause(cause: Cause, evidence: Evidence, place: Place): Verdict {
  const taken = evidence.windows.filter(
    (window) => window.probe && (!cause.steps || cause.steps.includes(window.step)),
  );
  const verdict = (kind: Verdict['kind'], says: string, more: Partial<Verdict> = {}): Verdict => ({
    cause: cause.id, place: place.name, kind, says, step: '', lost: 0, counted: 0, counter: '', proves: [], ...more,
  }); // prettier-ignore
  if (taken.length === 0)
    return verdict('untested', `needs the step ${cause.steps?.join(' or ')}, which was not taken`);
  const lossy = taken.filter((window) => window.chip === undefined && significant(window.probe?.lost ?? 0));
  const coded = judgeCoded(cause, evidence, place, verdict);
  if (lossy.length === 0) {
    if (coded) return coded;
    const sent = taken.reduce((sum, window) => sum + (window.probe?.sent ?? 0), 0);
    const lost = taken.reduce((sum, window) => sum + (window.probe?.lost ?? 0), 0);
    return verdict(
      'refuted',
      `${lost} of ${shown(sent)} lost in ${stepNames(taken)}: there is nothing for it to explain`,
    );
  }
  const verdicts = lossy.map((window) => judgeWindow(cause, evidence, window, place, verdict));
  const order = ['proved', 'suspected', 'refuted', 'untested'];
  const best = verdicts.toSorted((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind))[0];
  if (coded && best?.kind === 'suspected') return coded;
  const proves = verdicts.flatMap(({ kind, step, lost, counted }) =>
    kind === 'proved' ? [{ step, lost, counted }] : [],
  );
  return best ? { ...best, proves } : verdict('untested', 'no window');
}

type Make = (kind: Verdict['kind'], says: string, more?: Partial<Verdict>) => Verdict;

function judgeWindow(cause: Cause, evidence: Evidence, window: Window, place: Place, make: Make): Verdict {
  const { probe } = window;
  if (!probe) return make('untested', 'no probe');
  const base = { step: window.step, lost: probe.lost };
  try {
    const facts = factsAt(evidence, window, place);
    for (const need of cause.needs)
      if (!truth(need.that, facts)) return make('untested', template(need.says)(facts), base);
    const counter = template(cause.counter)(facts);
    for (const condition of cause.refute)
      if (unmet(condition, facts, evidence, place) === undefined)
        return make('refuted', template(condition.says)(facts), { ...base, counter });
    const counted = count(cause, facts);
    const background = backgroundOf(cause, evidence, window, place);
    const own = Math.max(0, counted - background);
    const against = lossesFor(cause, probe).toSorted((a, b) => fit(own, a) - fit(own, b))[0] ?? probe.lost;
    const more = { step: window.step, lost: against, counted: Math.round(own), counter };
    const sum = `${counter} +${shown(own)} while ${shown(against)} of ${shown(probe.sent)} were lost (${window.step})`;
    if (own < negligible * against) return make('refuted', sum, more);
    const open = cause.prove
      .map((condition) => unmet(condition, facts, evidence, place))
      .find((why) => why !== undefined);
    const next = cause.next ? { next: cause.next.step } : {};
    if (open) return make('suspected', `${sum}, but not shown: ${open}`, { ...more, ...next });
    if (background > quiet * against)
      return make('suspected', `${sum}; other traffic moves it too (${shown(background)} in the same time)`, {
        ...more,
        next: 'coded',
      });
    if (own < enough * against) return make('suspected', `${sum}: it explains only a part`, { ...more, ...next });
    if (own > tooMuch * packetsLost(evidence, probe, against))
      return make('suspected', `${sum}: it moved more than was lost`, { ...more, next: 'coded' });
    const reasons = cause.prove.map((condition) => template(condition.says)(facts));
    return make('proved', [sum, ...reasons].join('; '), more);
  } catch (error) {
    return make('untested', reasonOf(error, evidence, place), base);
  }
}

/** A coded probe decides on a busy node: the counter's slope on the marked loss is 1 when it counts just our losses. */
function judgeCoded(cause: Cause, evidence: Evidence, place: Place, make: Make): Verdict | undefined {
  const chips = evidence.windows.filter((window) => window.chip !== undefined);
  const lost = chips.reduce((sum, window) => sum + (window.probe?.lost ?? 0), 0);
  if (!significant(lost)) return undefined;
  try {
    const points = chips.map((window) => ({ window, facts: factsAt(evidence, window, place) }));
    const facts = points.find(({ window }) => (window.probe?.lost ?? 0) > 0)?.facts;
    if (!facts || cause.refute.some((condition) => unmet(condition, facts, evidence, place) === undefined))
      return undefined;
    const counts = points.map((point) => count(cause, point.facts));
    const slope = regress(
      chips.map((window) => window.probe?.lost ?? 0),
      counts,
    );
    if (!slope) return undefined;
    const counter = template(cause.counter)(facts);
    const more = { step: 'coded', lost, counted: Math.round(slope.slope * lost), counter };
    const sum = `${counter}: slope ${slope.slope.toFixed(2)} (${slope.low.toFixed(2)} to ${slope.high.toFixed(2)}) on ${shown(lost)} marked losses in ${chips.length} chips`;
    if (slope.high < negligible) return make('refuted', `${sum}: it moves with other traffic only`, more);
    const open = cause.prove
      .map((condition) => unmet(condition, facts, evidence, place))
      .find((why) => why !== undefined);
    if (!open && slope.low > 0.5 && slope.low <= 1 && slope.high >= 1)
      return make('proved', sum, { ...more, proves: [{ step: 'coded', lost, counted: more.counted }] });
    return make('suspected', open ? `${sum}, but not shown: ${open}` : `${sum}: a longer code would narrow it`, more);
  } catch (error) {
    return make('untested', reasonOf(error, evidence, place), { step: 'coded', lost });
  }
}

function count(cause: Cause, facts: Facts): number {
  const value = expression(cause.counts).evaluate(facts);
  if (typeof value !== 'number' || !Number.isFinite(value)) throw new Unseen(`${cause.counts} is not a number here`);
  return value;
}

/** What the same count moved in the control window, scaled to this window's length. */
function backgroundOf(cause: Cause, evidence: Evidence, window: Window, place: Place): number {
  const control = controlOf(evidence);
  if (!control) throw new Unseen('there is no control window');
  const facts = factsAt(evidence, control, place);
  const length = (one: Window): number => Math.max(1, one.after.at - one.before.at);
  return count(cause, facts) * (length(window) / length(control));
}

function lossesFor(cause: Cause, probe: ProbeResult): number[] {
  const ways = {
    request: [probe.requestLost],
    reply: [probe.replyLost],
    any: [probe.lost, probe.requestLost, probe.replyLost],
  };
  const known = probe.oneWay ? ways[cause.loses] : [probe.lost];
  return known.filter(significant).concat(known.some(significant) ? [] : [probe.lost]);
}

/** How many packets the lost datagrams were: counters below IP see each fragment, those above see datagrams. */
function packetsLost(evidence: Evidence, probe: ProbeResult, lost: number): number {
  const perPacket = Math.max(8, (senderMtu(evidence) - 20) & ~7);
  const packets = probe.bySize.reduce((sum, one) => sum + one.lost * Math.ceil((one.size + 8) / perPacket), 0);
  return Math.max(lost, packets);
}

/** How far a count is from the loss it is held against. */
const fit = (counted: number, lost: number): number => Math.abs(counted - lost) / lost;

function truth(text: string, facts: Facts): boolean {
  return expression(text).evaluate(facts) === true;
}

/** Why a condition is not shown: it is false, or what it needs could not be read. */
function unmet(
  condition: { that: string; says: string },
  facts: Facts,
  evidence: Evidence,
  place: Place,
): string | undefined {
  try {
    return truth(condition.that, facts) ? undefined : template(condition.says)(facts);
  } catch (error) {
    return reasonOf(error, evidence, place);
  }
}

function reasonOf(error: unknown, evidence: Evidence, place: Place): string {
  if (error instanceof Unseen) return error.message;
  const text = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
  const key = /No such key: (\S+)/.exec(text)?.[1];
  if (key) return whyMissing(evidence, place.name, key);
  throw error;
}

const stepNames = (windows: Window[]): string => [...new Set(windows.map(({ step }) => step))].join(', ');
