import type { Measured, Verification } from './runs.ts';
import { significant, wilson } from './statistics.ts';

/** What is left of a loss may be at most this share of it. */
const remaining = 0.2;

const intervals = (one: Measured, two: Measured) =>
  [wilson(one.lost, Math.max(1, one.sent)), wilson(two.lost, Math.max(1, two.sent))] as const;

type Step = Verification['steps'][number];
type Fault = 'not sent' | 'worse' | 'not cured';

/** Whether a change helped: every loss that it was made for is gone beyond doubt, and no step lost more than before. */
export function verified(before: readonly Measured[], after: readonly Measured[]): Verification {
  const steps = before.map((one) => ({
    step: one.step,
    before: one,
    after: after.find(({ step }) => step === one.step) ?? { step: one.step, sent: 0, lost: 0 },
  }));
  const faults = (['worse', 'not sent', 'not cured'] as const).flatMap((fault) => {
    const found = steps.filter((step) => faultOf(step) === fault);
    return found.length ? [`${fault}: ${sumOf(found)}`] : [];
  });
  if (faults.length) return { helped: false, says: faults.join('; '), steps };
  const cured = steps.filter((step) => significant(step.before.lost));
  return {
    helped: cured.length > 0,
    says: cured.length ? `cured: ${sumOf(cured)}` : 'there was no loss to cure',
    steps,
  };
}

function faultOf({ before, after }: Step): Fault | undefined {
  if (after.sent === 0) return 'not sent';
  const [was, is] = intervals(before, after);
  if (significant(after.lost) && is.low > was.high) return 'worse';
  if (!significant(before.lost)) return undefined;
  const gone = is.high < was.low && is.share <= remaining * was.share;
  // Where several places lose, each change answers for its own counter only.
  const stopped =
    (before.counted ?? 0) > 0 && after.counted !== undefined && after.counted <= remaining * (before.counted ?? 0);
  return gone || (is.high < was.low && stopped) ? undefined : 'not cured';
}

/** `small, steady lost 359 of 400 before and 0 of 400 after, the cause's counter +359 and then +0` */
function sumOf(steps: readonly Step[]): string {
  const sum = (pick: (step: Step) => number | undefined): string =>
    steps.reduce((all, step) => all + (pick(step) ?? 0), 0).toLocaleString('en-US');
  const counted = steps.every(({ before, after }) => before.counted !== undefined && after.counted !== undefined)
    ? `, the cause's counter +${sum(({ before }) => before.counted)} and then +${sum(({ after }) => after.counted)}`
    : '';
  const names = steps.map(({ step }) => step).join(', ');
  const [was, is] = [sum(({ before }) => before.lost), sum(({ after }) => after.lost)];
  return `${names} lost ${was} of ${sum(({ before }) => before.sent)} before and ${is} of ${sum(({ after }) => after.sent)} after${counted}`;
}
