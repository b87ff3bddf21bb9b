import { shown, template } from './cel.ts';
import { type Evidence, type Window, passiveStep } from './evidence.ts';
import { factsAt } from './facts/facts.ts';
import { type Focus, focusOf } from './facts/moved.ts';
import { count } from './judge-accounting.ts';
import { reasonOf, refutation, unmet } from './judge-conditions.ts';
import { type Make, negligible, strongest } from './judge-verdict.ts';
import type { Cause } from './runbook.ts';
import { regress, significant } from './statistics.ts';
import type { Place } from './target.ts';
import type { Verdict } from './verdict.ts';

/** Slopes of exact counters are 1 but for the last bits of a double. */
const epsilon = 1e-9;

/** A coded probe decides on a busy node: the counter's slope on the marked loss is 1 when it counts just our losses. */
export function judgeCoded(
  cause: Cause,
  evidence: Evidence,
  place: Place,
  lossy: Window[],
  make: Make,
): Verdict | undefined {
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
