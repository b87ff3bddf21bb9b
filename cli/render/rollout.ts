import type { Need } from '../../domain/approval.ts';
import { groupsOf } from '../../domain/plan.ts';
import {
  type RolloutResult,
  type RolloutRow,
  type SignedRollout,
  tally,
  targetsText,
  toneOf,
} from '../../domain/rollout.ts';
import { rolloutFacts } from '../../domain/rollout-facts.ts';
import { paint, print, wrapped } from '../output.ts';

const line = (name: string, text: string): void => print(`  ${paint.dim(name.padEnd(10))} ${wrapped(text, 13)}`);
const colours = { good: paint.green, bad: paint.red, warn: paint.yellow };

/**
 * All that an approver has to know of a rollout: what is done where, in which waves, and when it stops.
 * @param needs what people must give, while it waits for them
 */
export function printRollout(signed: SignedRollout, needs?: readonly Need[]): void {
  const { rollout, digest } = signed;
  const parts = rollout.waves.flat();
  print();
  print(
    `${paint.bold(`Rollout ${digest.slice(0, 12)}`)}  ${rollout.title}, for ${targetsText(parts.map(({ target }) => target))}`,
  );
  for (const { operations, places } of groupsOf(parts.flatMap((part) => part.plan.changes))) {
    for (const operation of operations) line('change', operation);
    line('', `at ${places.join(', ')}`);
  }
  for (const [name, text] of rolloutFacts(signed, needs)) line(name, text);
}

/** One target as it stands. */
export function printRow({ target, wave, state, says, changes, undone }: RolloutRow): void {
  const words = `${target}${wave === undefined ? '' : paint.dim(` wave ${wave}`)}  ${colours[toneOf(state)](state)}`;
  print(`  ${words}${says ? `  ${paint.dim(wrapped(says, 6))}` : ''}`);
  for (const one of changes) for (const read of one.proof) print(`      ${paint.dim(`read back: ${read.slice(0, 100)}`)}`); // prettier-ignore
  for (const one of undone ?? []) for (const read of one.proof) print(`      ${paint.dim(`read back: ${read.slice(0, 100)}`)}`); // prettier-ignore
}

export function printRolloutEnd({ outcome, says, rows, report }: RolloutResult): void {
  print();
  rows.forEach(printRow);
  print();
  print(`${colours[toneOf(outcome)](paint.bold(outcome))}  ${wrapped(says, outcome.length + 2)}`);
  if (report !== undefined) print(`${paint.dim('report')}  ${report}`);
}

/** `wave 2, changing: 3 confirmed, 2 changing, 15 planned` */
export const rolloutLine = (phase: string, wave: number | undefined, rows: readonly RolloutRow[]): string =>
  `  ${wave === undefined ? '' : `wave ${wave}, `}${phase}: ${tally(rows)} …`;
