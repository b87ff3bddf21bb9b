import { described } from '../../domain/operation.ts';
import { type SignedPlan, radiusLine } from '../../domain/plan.ts';
import { type Proposal, fieldsOf } from '../../domain/proposal.ts';
import { type Judgement, judgementText } from '../../domain/remit.ts';
import type { ChangeResult, RemediateResult } from '../../domain/runs.ts';
import { paint, print, wrapped } from '../output.ts';

/** All that an approver has to know. */
export function printPlan({ plan, digest }: SignedPlan): void {
  const line = (name: string, text: string): void => print(`  ${paint.dim(name.padEnd(10))} ${wrapped(text, 13)}`);
  print();
  print(`${paint.bold(`Plan ${digest.slice(0, 12)}`)}  ${plan.title}`);
  line('asked by', `${plan.requester}, for run ${plan.run} of ${plan.inventory}`);
  for (const { place, node, operations } of plan.changes)
    for (const operation of operations) line(place === node ? place : `${place} @ ${node}`, described(operation));
  plan.proposals?.forEach(printProposal);
  const lost = plan.verify.map((one) => `${one.step} ${one.lost} of ${one.sent}`);
  line('cures', lost.join(', '));
  line('predicts', `${plan.predict} (within ${plan.withinSeconds} s, else it is reverted)`);
  line('risk', `${plan.risk}; cost: ${plan.cost}`);
  line('touches', radiusLine(plan.radius));
  line('owner', plan.owner);
  line('lasts', plan.lasts);
  for (const why of plan.ruledOut ?? []) line('instead of', why);
  line(
    'undo',
    plan.reversible
      ? `stored on the node, which reverts by itself after ${plan.revertAfterSeconds} s unless confirmed`
      : 'deleted entries cannot be put back; they are learned anew',
  );
  if (plan.policy?.rule !== undefined)
    line(
      'policy',
      `rule ${plan.policy.rule}${plan.policy.shadow ? ', in shadow mode' : ''}${plan.policy.standing ? ': standing approval' : ''}`,
    );
  line('expires', new Date(plan.expiresAt).toISOString());
}

/** From this length a command is for copying from the report or the JSON, and not for reading. */
const longCommand = 240;

/** What somebody else has to change, and how. */
function printProposal({ object, says, why, owner, afterwards, diff, command, ...rest }: Proposal): void {
  const line = (name: string, text: string): void => print(`  ${paint.dim(name.padEnd(10))} ${wrapped(text, 13)}`);
  line('propose', object ? `${object}: ${fieldsOf(rest)}` : says);
  line('', `why: ${why}`);
  if (owner) line('', `owner: ${owner}`);
  for (const text of diff ? diff.split('\n') : []) print(`             ${coloured(text)}`);
  if (command)
    line('', command.length < longCommand ? command : 'as one kubectl patch: in the report, and with --json');
  if (afterwards) line('', `afterwards: ${afterwards}`);
}

const coloured = (text: string): string =>
  text.startsWith('+') ? paint.green(text) : text.startsWith('-') ? paint.red(text) : paint.dim(text);

/** What verification measured, step by step, and what was read back from the node. */
export function printChange({ verification, proof }: ChangeResult): void {
  for (const { step, before, after } of verification?.steps ?? []) {
    const moved =
      after.counted === undefined ? '' : paint.dim(`   counter +${before.counted ?? 0} -> +${after.counted}`);
    const colour = after.lost >= 3 ? paint.red : paint.green;
    const counts = `${`${before.lost} of ${before.sent}`.padStart(14)} -> ${colour(`${after.lost} of ${after.sent}`.padEnd(14))}`;
    print(`           ${step.padEnd(9)} ${counts}${moved}`);
  }
  for (const line of proof) print(`           ${paint.dim(`read back: ${shortened(line)}`)}`);
}

/** A whole feature set does not fit a line; the report has it. */
const shortened = (line: string): string =>
  line.length > 100 ? `${line.slice(0, 60)} … (${line.split(',').length} values)` : line;

export function printRemediation({ outcome, says, judged, report, proposals }: RemediateResult): void {
  const colour = outcome === 'confirmed' || outcome === 'healed' ? paint.green : paint.yellow;
  print();
  print(`${colour(paint.bold(outcome))}  ${wrapped(says, outcome.length + 2)}`);
  proposals?.forEach(printProposal);
  if (judged) printJudgement(judged);
  if (report !== undefined) print(`${paint.dim('report')}  ${report}`);
}

/** What the inventory's policy said of the plan. */
export const printJudgement = (judged: Judgement): void =>
  print(`${paint.dim('policy')}  ${wrapped(judgementText(judged), 8)}`);
