import { expression, shown, template } from './cel.ts';
import {
  type Evidence,
  type Window,
  controlOf,
  fullSample,
  isPassive,
  lengthOf,
  passiveStep,
  watchedWindow,
} from './evidence.ts';
import { type Facts, type Look, factsAt } from './facts/facts.ts';
import { type Focus, focusOf } from './facts/moved.ts';
import { senderMtu } from './facts/sizes.ts';
import { Unseen, whyMissing } from './facts/unread.ts';
import { waysOf } from './facts/way.ts';
import { type ProbeResult, addProbes } from './probe.ts';
import type { Cause } from './runbook.ts';
import { regress, significant, wilson } from './statistics.ts';
import type { Place } from './target.ts';
import type { Verdict } from './verdict.ts';

/** A cause is proved when it explains at least this share of the loss at its hop (docs/methodology.md, rule 2) … */
const enough = 0.8;
/** … and at most this one: a counter that moved far more than was lost counts something else as well. */
const tooMuch = 1.25;
/** Below this share a counter that moved is noise beside the loss, and the cause is ruled out with its number. */
const negligible = 0.2;
/** A quiet counter moves at most this share of the loss in the control window; a busier one needs coded probes. */
const quiet = 0.1;
/** Edges of watched windows are not sharp to the datagram. */
const few = 3;
/** Slopes of exact counters are 1 but for the last bits of a double. */
const epsilon = 1e-9;

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
  if (coded && best.kind === 'suspected') return coded;
  const proves = verdicts.flatMap(({ kind, step, lost, counted, share }) =>
    kind === 'proved' ? [{ step, lost, counted, ...(share && { share }) }] : [],
  );
  return { ...best, proves };
}

type Make = (kind: Verdict['kind'], says: string, more?: Partial<Verdict>) => Verdict;

const order = ['proved', 'suspected', 'untested', 'refuted'];

/** The one that says most. One look that saw nothing does not rule out what another could not read. */
function strongest(verdicts: Verdict[]): Verdict {
  const [best] = verdicts.toSorted((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind));
  if (!best) throw new Error('there is no verdict to choose from');
  return best;
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

function judgeWindow(
  cause: Cause,
  evidence: Evidence,
  window: Window,
  place: Place,
  { way }: Look,
  make: Make,
): Verdict {
  const { probe } = window;
  if (!probe) return make('untested', 'no probe');
  const back = way === 'back' && place.role === 'hop' ? { way } : {};
  const base = { step: window.step, lost: probe.lost, ...back };
  try {
    const look: Look = { ...(way && { way }), focus: focusOf(evidence, window, place) };
    const facts = factsAt(evidence, window, place, look);
    for (const need of cause.needs)
      if (!truth(need.that, facts)) return make('untested', template(need.says)(facts), base);
    const counter = template(cause.counter)(facts);
    const { refutedBy, doubt } = refutation(cause, facts, evidence, place);
    if (refutedBy !== undefined) return make('refuted', refutedBy, { ...base, counter });
    const counted = count(cause, facts);
    const background = backgroundOf(cause, evidence, window, place, look);
    const own = Math.max(0, counted - background);
    const against = lossesFor(cause, probe).toSorted((a, b) => fit(own, a) - fit(own, b))[0] ?? probe.lost;
    const more = { ...base, lost: against, counted: Math.round(own), counter };
    const sum = `${counter} +${shown(own)} while ${shown(against)} of ${shown(probe.sent)} were lost (${window.step})`;
    const busy = background > quiet * against;
    // What was lost while edges were sampled, and the datagrams that were on their way.
    const slack = probe.watched ? Math.min(probe.watched.slack, 0.2 * against) + few : 0;
    // A Service spreads what is sent to it: each of its endpoints can account for its own share only.
    const together = own > 0 ? own + elsewhere(cause, evidence, window, place) : 0;
    const receivers = evidence.path.places.filter(({ role }) => role === 'receiver').length;
    const share =
      together > own &&
      together >= enough * against &&
      together <= tooMuch * against &&
      together - own < enough * against &&
      own >= (negligible * against) / receivers;
    // On a busy counter a difference near zero may be chance: only the counter itself standing still rules it out.
    if (!share && (busy ? counted : own) < negligible * against) return make('refuted', sum, more);
    const open = cause.prove
      .map((condition) => unmet(condition, facts, evidence, place))
      .find((why) => why !== undefined);
    const next = nextOf(cause, evidence);
    if (open) return make('suspected', `${sum}, but not shown: ${open}`, { ...more, ...next });
    // Coded probes are small and go to undrop's own listener: they cannot decide what only other steps meet.
    const code = cause.steps ? {} : { next: 'coded' };
    if (busy)
      return make('suspected', `${sum}; other traffic moves it too (${shown(background)} in the same time)`, {
        ...more,
        ...code,
      });
    if (own < enough * against) {
      if (!share || doubt !== undefined)
        return make('suspected', `${sum}: it explains only a part`, { ...more, ...next });
      const says = `${sum}; with the other endpoints' it is ${shown(together)}`;
      return make('proved', says, { ...more, share: true });
    }
    if (own > tooMuch * (packetsLost(evidence, probe, against) + slack))
      return make('suspected', `${sum}: it moved more than was lost`, { ...more, ...code });
    if (window.step === passiveStep && !keepsTime(cause, evidence, place, look, against, slack))
      return make('suspected', `${sum}, but not at the same times: another loss of that size may be meant`, more);
    if (doubt !== undefined)
      return make('suspected', `${sum}, but it could not be ruled out: ${doubt}`, { ...more, ...next });
    const reasons = cause.prove.map((condition) => template(condition.says)(facts));
    return make('proved', [sum, ...reasons].join('; '), more);
  } catch (error) {
    return make('untested', reasonOf(error, evidence, place), base);
  }
}

/** What the same cause counted at the other receiving places, beyond their background. Those that were not seen count nothing. */
function elsewhere(cause: Cause, evidence: Evidence, window: Window, place: Place): number {
  if (place.role !== 'receiver') return 0;
  const others = evidence.path.places.filter((one) => one.role === 'receiver' && one.name !== place.name);
  return others.reduce((sum, other) => {
    try {
      const look: Look = { way: 'back', focus: focusOf(evidence, window, other) };
      const counted = count(cause, factsAt(evidence, window, other, look));
      return sum + Math.max(0, counted - backgroundOf(cause, evidence, window, other, look));
    } catch (error) {
      reasonOf(error, evidence, other);
      return sum;
    }
  }, 0);
}

/** What rules a cause out, or why that could not be asked: a test that was not made clears nobody, and proves nothing. */
function refutation(
  cause: Cause,
  facts: Facts,
  evidence: Evidence,
  place: Place,
): { refutedBy?: string; doubt?: string } {
  let doubt: string | undefined;
  for (const { that, says } of cause.refute)
    try {
      if (truth(that, facts)) return { refutedBy: template(says)(facts) };
    } catch (error) {
      doubt ??= reasonOf(error, evidence, place);
    }
  return doubt === undefined ? {} : { doubt };
}

/** A coded probe decides on a busy node: the counter's slope on the marked loss is 1 when it counts just our losses. */
function judgeCoded(cause: Cause, evidence: Evidence, place: Place, lossy: Window[], make: Make): Verdict | undefined {
  const chips = evidence.windows.filter((window) => window.chip !== undefined && window.step !== passiveStep);
  const [first, last] = [chips[0], chips.at(-1)];
  const lost = chips.reduce((sum, window) => sum + (window.probe?.lost ?? 0), 0);
  if (!first || !last || !significant(lost) || cause.steps) return undefined;
  // Which rule or device is meant shows best where it stood out: in a window before, or over the whole code.
  const windows = [...lossy, { ...first, after: last.after }];
  const looks = windows.map((window) => focusOf(evidence, window, place));
  const verdicts = looks.flatMap((focus) => codedVerdict(cause, evidence, place, chips, focus, lost, make) ?? []);
  return verdicts.length ? strongest(verdicts) : undefined;
}

function codedVerdict(
  cause: Cause,
  evidence: Evidence,
  place: Place,
  chips: Window[],
  focus: Focus,
  lost: number,
  make: Make,
): Verdict | undefined {
  try {
    const points = chips.map((window) => ({ window, facts: factsAt(evidence, window, place, { focus }) }));
    const facts = points.find(({ window }) => (window.probe?.lost ?? 0) > 0)?.facts;
    if (!facts || refutation(cause, facts, evidence, place).refutedBy !== undefined) return undefined;
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
    if (!open && slope.low > 0.5 && slope.low <= 1 + epsilon && slope.high >= 1 - epsilon)
      return make('proved', sum, { ...more, proves: [{ step: 'coded', lost, counted: more.counted }] });
    return make('suspected', open ? `${sum}, but not shown: ${open}` : `${sum}: a longer code would narrow it`, more);
  } catch (error) {
    return make('untested', reasonOf(error, evidence, place), { step: 'coded', lost });
  }
}

/** The step that a suspicion asks for: the first of the cause's own that was not taken yet. */
function nextOf({ next }: Cause, { windows }: Evidence): { next?: string } {
  const step = [next?.step ?? []].flat().find((id) => !windows.some((window) => window.step === id));
  return step === undefined ? {} : { next: step };
}

function count(cause: Cause, facts: Facts): number {
  const value = expression(cause.counts).evaluate(facts);
  if (typeof value !== 'number' || !Number.isFinite(value)) throw new Unseen(`${cause.counts} is not a number here`);
  return value;
}

/**
 * Whether a count grew while datagrams were lost: in no part of a watched window it may be ahead or behind by more than a
 * quarter of the loss. Two losses of one size by chance show at different times, unless both are steady.
 */
function keepsTime(
  cause: Cause,
  evidence: Evidence,
  place: Place,
  look: Look,
  against: number,
  slack: number,
): boolean {
  const parts = evidence.windows.filter(({ step, probe }) => step === passiveStep && probe);
  const total = addProbes(parts.flatMap(({ probe }) => probe ?? []));
  const lossOf = ({ lost, requestLost, replyLost }: ProbeResult): number =>
    against === total.lost ? lost : against === total.requestLost ? requestLost : replyLost;
  let [ahead, counted] = [0, 0];
  const lags = parts.map((part) => {
    const moved = count(cause, factsAt(evidence, part, place, look));
    counted += moved;
    return { moved, lost: part.probe ? lossOf(part.probe) : 0 };
  });
  // Only the shape is compared here; whether the sums fit was asked before.
  const scale = counted > 0 ? against / counted : 1;
  return lags.every(({ moved, lost }) => {
    ahead += moved * scale - lost;
    return Math.abs(ahead) <= 0.25 * against + slack;
  });
}

/** What the same count moved in the control window, scaled to this window's length. */
function backgroundOf(cause: Cause, evidence: Evidence, window: Window, place: Place, look: Look): number {
  // Users' traffic does not stop for us: the count must fit the loss as it is, and keep its time.
  if (isPassive(evidence)) return 0;
  const control = controlOf(evidence);
  if (!control) throw new Unseen('there is no control window');
  return count(cause, factsAt(evidence, control, place, look)) * (lengthOf(window) / lengthOf(control));
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

/**
 * How many packets the lost datagrams were: counters below IP see each fragment, and one more for what is given up with
 * them; those above see datagrams.
 */
function packetsLost(evidence: Evidence, probe: ProbeResult, lost: number): number {
  const perPacket = Math.max(8, (senderMtu(evidence) - 20) & ~7);
  const packets = probe.bySize.reduce((sum, one) => {
    const pieces = Math.ceil((one.size + 8) / perPacket);
    return sum + one.lost * (pieces === 1 ? 1 : pieces + 1);
  }, 0);
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
