import { passiveStep } from '../../domain/evidence.ts';
import { headline, nextLine } from '../../domain/report.ts';
import type { Runbook } from '../../domain/runbook.ts';
import { type StepSummary, type SurveyRow, surveyLine } from '../../domain/runs.ts';
import { sumLine, summarise, sumsOf } from '../../domain/summary.ts';
import type { Conclusion } from '../../domain/verdict.ts';
import { paint, print, wrapped } from '../output.ts';

const number = (value: number): string => value.toLocaleString('en-US');

/** One taken step: what was sent and lost, and the question that it answers. */
export function printStep({ step, question, sent, lost, failed }: StepSummary): void {
  const name = step.padEnd(9);
  if (failed !== undefined) {
    print(`  ${name} ${paint.yellow(step === passiveStep ? 'not watched' : 'not sent')}  ${wrapped(failed, 21)}`);
    return;
  }
  const share = sent ? `${((100 * lost) / sent).toFixed(lost && lost < sent ? 1 : 0)} %` : '';
  const counts = `${number(lost).padStart(5)} of ${number(sent).padEnd(5)} lost ${share.padStart(6)}`;
  print(`  ${name} ${lost >= 3 ? paint.red(counts) : paint.green(counts)}  ${paint.dim(question)}`);
}

/** Which paths were tried, and which one is looked at. */
export function printSurvey(rows: readonly SurveyRow[], chosen: string): void {
  for (const row of rows) {
    const mark = row.target === chosen ? paint.bold('*') : ' ';
    print(`${mark} ${'survey'.padEnd(9)} ${paint.dim(wrapped(surveyLine(row), 12))}`);
  }
}

/** The whole answer: what explains the loss, what was ruled out by which number, what was not tested, what next. */
export function printConclusion(runbook: Runbook, conclusion: Conclusion, all = false): void {
  const good =
    conclusion.kind === 'no-loss' ? paint.green : conclusion.kind === 'explained' ? paint.bold : paint.yellow;
  print();
  print(good(conclusion.kind === 'no-loss' ? `No loss: ${conclusion.says}` : headline(conclusion)));
  if (conclusion.passive && conclusion.kind !== 'no-loss' && conclusion.kind !== 'explained')
    print(`  ${wrapped(conclusion.says, 2)}`);
  for (const verdict of conclusion.verdicts.filter(({ kind }) => kind === 'proved')) {
    const cause = runbook.causes.find(({ id }) => id === verdict.cause);
    const mark = verdict.effectOf
      ? paint.dim(`${cause?.condition ? 'condition' : 'effect'} of ${verdict.effectOf}`)
      : paint.red('proved');
    print(`  ${mark}  ${verdict.cause} at ${verdict.place}: ${cause?.title ?? ''}`);
    print(`          ${wrapped(verdict.says, 10)}`);
    if (!verdict.effectOf && cause) print(`          ${paint.dim(wrapped(cause.mechanism.trim(), 10))}`);
  }
  for (const sum of sumsOf(conclusion)) print(`  ${paint.dim('sum'.padEnd(6))}  ${wrapped(sumLine(sum), 10)}`);
  printKind(runbook, conclusion, 'suspected', 'Suspected', all);
  printKind(runbook, conclusion, 'refuted', 'Ruled out', all || conclusion.kind !== 'no-loss');
  printKind(runbook, conclusion, 'untested', 'Not tested', all || conclusion.kind !== 'no-loss');
  for (const [place, why] of Object.entries(conclusion.unseen))
    print(`${paint.yellow('Not seen')}  ${place}: ${wrapped(why, 10)}`);
  print();
  print(`${paint.bold('Next')}  ${wrapped(nextLine(runbook, conclusion), 6)}`);
}

function printKind(
  runbook: Runbook,
  conclusion: Conclusion,
  kind: 'suspected' | 'refuted' | 'untested',
  title: string,
  listed: boolean,
): void {
  const found = summarise(runbook, conclusion, kind);
  if (found.length === 0) return;
  print();
  print(`${paint.bold(title)} (${found.length})${listed ? '' : paint.dim('  --all lists them')}`);
  if (!listed) return;
  const width = Math.max(...found.map(({ cause }) => cause.id.length));
  for (const { cause, places, says } of found)
    print(`  ${cause.id.padEnd(width)}  ${paint.dim(wrapped(`${places.join(', ')}: ${says}`, width + 4))}`);
}
