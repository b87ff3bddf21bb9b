import type { Policy, PolicyRule } from './policy.ts';

/** One change that a standing approval let through, as the ledger knows it. */
export interface Automatic {
  /** Workflow id of its permit. */
  permit: string;
  rule: string;
  /** Milliseconds since the epoch. */
  startedAt: number;
  /** Not there while it is in progress. */
  endedAt?: number;
  /** How it ended, a ChangeOutcome; left out where it ended without saying. */
  outcome?: string;
}

/** Whether it was tried, and did not end well. Nothing was tried where the loss was gone, or something refused. */
export const failed = ({ endedAt, outcome }: Automatic): boolean =>
  endedAt !== undefined && !['confirmed', 'healed', 'refused'].includes(outcome ?? '');
const tried = (one: Automatic): boolean => one.outcome === 'confirmed' || failed(one);

/** A limit with its number. `holds: false` is why nothing is automatic now. */
export interface Limit {
  holds: boolean;
  says: string;
}

const minute = 60_000;

/**
 * The circuit breaker over the fleet. Open, it lets nothing through until the last failure is `cooldownMinutes` ago; then one
 * change at a time, until successes have pushed the failures out of the last `of`.
 * @param self the permit of the change that is judged, when it has one already
 */
export function breakerOf({ breaker }: Policy, all: readonly Automatic[], now: number, self?: string): Limit {
  const { failures, of, cooldownMinutes } = breaker;
  const ended = all.filter(tried).toSorted((a, b) => (b.endedAt ?? 0) - (a.endedAt ?? 0));
  const last = ended.slice(0, of);
  const bad = last.filter(failed);
  const numbers = `${bad.length} of the last ${last.length} automatic changes failed, ${failures} of ${of} open the breaker`;
  if (bad.length < failures) return { holds: true, says: numbers };
  const ago = (now - Math.max(...bad.map(({ endedAt }) => endedAt ?? 0))) / minute;
  if (ago < cooldownMinutes)
    return { holds: false, says: `the breaker is open: ${numbers}; ${ago.toFixed(0)} of ${cooldownMinutes} minutes have passed` }; // prettier-ignore
  // Who started first goes first: of two that wait for each other neither would.
  const own = all.find(({ permit, endedAt }) => permit === self && endedAt === undefined);
  const before = ({ startedAt, permit }: Automatic): boolean =>
    !own || startedAt < own.startedAt || (startedAt === own.startedAt && permit < own.permit);
  const others = all.filter((one) => one.endedAt === undefined && one.permit !== self && before(one));
  return {
    holds: others.length === 0,
    says: `the breaker is half open, one change at a time: ${others.length} others are in progress (${numbers})`,
  };
}

export function budgetOf({ name, errorBudget }: PolicyRule, all: readonly Automatic[], now: number): Limit {
  const since = now - errorBudget.perHours * 60 * minute;
  const used = all.filter((one) => one.rule === name && failed(one) && (one.endedAt ?? 0) > since).length;
  return {
    holds: used < errorBudget.failures,
    says: `${used} failed changes of this rule in ${errorBudget.perHours} hours, the budget ends at ${errorBudget.failures}`,
  };
}
