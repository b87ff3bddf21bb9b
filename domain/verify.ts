import type { Measured, Verification } from './runs.ts';
import { significant, wilson } from './statistics.ts';

/** What is left of a loss may be at most this share of it. */
const remaining = 0.2;

const intervals = (one: Measured, two: Measured) =>
  [wilson(one.lost, Math.max(1, one.sent)), wilson(two.lost, Math.max(1, two.sent))] as const;

/** Whether a change helped: every loss that it was made for is gone beyond doubt, and no step lost more than before. */
export function verified(before: readonly Measured[], after: readonly Measured[]): Verification {
  const steps = before.map((one) => ({
    step: one.step,
    before: one,
    after: after.find(({ step }) => step === one.step) ?? { step: one.step, sent: 0, lost: 0 },
  }));
  const failed = steps.flatMap((step) => faultOf(step) ?? []);
  if (failed.length) return { helped: false, says: failed.join('; '), steps };
  const cured = steps.filter((step) => significant(step.before.lost));
  return { helped: cured.length > 0, says: cured.map(sentence).join('; ') || 'there was no loss to cure', steps };
}

function faultOf(step: Verification['steps'][number]): string | undefined {
  const { before, after } = step;
  if (after.sent === 0) return `${step.step} could not be sent`;
  const [was, is] = intervals(before, after);
  if (significant(after.lost) && is.low > was.high) return `worse: ${sentence(step)}`;
  if (!significant(before.lost)) return undefined;
  const gone = is.high < was.low && is.share <= remaining * was.share;
  // Where several places lose, each change answers for its own counter only.
  const stopped =
    (before.counted ?? 0) > 0 && after.counted !== undefined && after.counted <= remaining * (before.counted ?? 0);
  if (gone || (is.high < was.low && stopped)) return undefined;
  return `not cured: ${sentence(step)}`;
}

function sentence({ step, before, after }: Verification['steps'][number]): string {
  const counter = after.counted === undefined ? '' : `, its counter +${before.counted ?? 0} and then +${after.counted}`;
  return `${step} lost ${before.lost} of ${before.sent} before and ${after.lost} of ${after.sent} after${counter}`;
}
