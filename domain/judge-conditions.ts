import { expression, template } from './cel.ts';
import type { Evidence } from './evidence.ts';
import type { Facts } from './facts/facts.ts';
import { Unseen, whyMissing } from './facts/unread.ts';
import type { Cause } from './runbook.ts';
import type { Place } from './target.ts';

/** @throws Error when what the condition needs could not be read: `reasonOf` says it */
export function truth(text: string, facts: Facts): boolean {
  return expression(text).evaluate(facts) === true;
}

/** Why a condition is not shown: it is false, or what it needs could not be read. */
export function unmet(
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

/** What rules a cause out, or why that could not be asked: a test that was not made clears nobody, and proves nothing. */
export function refutation(
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

/** Why something could not be judged. @throws what is no lack of evidence but a fault of undrop or its runbook */
export function reasonOf(error: unknown, evidence: Evidence, place: Place): string {
  if (error instanceof Unseen) return error.message;
  const text = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
  const key = /No such key: (\S+)/.exec(text)?.[1];
  if (key) return whyMissing(evidence, place.name, key);
  throw error;
}
