import { groupsOf } from '../../domain/plan.ts';
import { type RolloutResult, type RolloutRow, type SignedRollout, tally } from '../../domain/rollout.ts';
import { paint, print, wrapped } from '../output.ts';

const line = (name: string, text: string): void => print(`  ${paint.dim(name.padEnd(10))} ${wrapped(text, 13)}`);

/** All that an approver has to know of a rollout: what is done where, in which waves, and when it stops. */
export function printRollout({ rollout, digest }: SignedRollout): void {
  const { rules, waves, skipped } = rollout;
  const parts = waves.flat();
  const [first] = parts;
  if (!first) return;
  const { plan } = first;
  print();
  print(`${paint.bold(`Rollout ${digest.slice(0, 12)}`)}  ${rollout.title}, for ${parts.length} targets`);
  line('asked by', `${rollout.requester}, as rollout ${rollout.name} of ${rollout.inventory}`);
  for (const { operations, places } of groupsOf(parts.flatMap((part) => part.plan.changes))) {
    for (const operation of operations) line('change', operation);
    line('', `at ${places.join(', ')}`);
  }
  for (const [at, wave] of waves.entries())
    line(`wave ${at + 1}`, `${wave.map(({ node, zone }) => (zone ? `${node} (${zone})` : node)).join(', ')}${at === 0 ? ', one after another: the canaries' : ''}`); // prettier-ignore
  const lost = parts.map(({ target, plan: { verify } }) => `${target} ${verify[0]?.lost} of ${verify[0]?.sent}`);
  line('cures', `${lost.slice(0, 6).join(', ')}${lost.length > 6 ? `, +${lost.length - 6} more` : ''}`);
  line('predicts', `${plan.predict} (within ${plan.withinSeconds} s, else that node is reverted)`);
  line('before', 'each node is diagnosed again, and left alone where its loss or its values are others by then');
  line('soak', `it must go on helping for ${rules.soakSeconds} s before it is confirmed`);
  if (rules.control)
    line('control', 'an untouched node of a later wave must still lose, or the cure is not credited and is put back');
  line('stops', `after more than ${rules.maxFailed} failures; then everything that it changed is put back`);
  line('risk', `${rollout.risk}; cost: ${plan.cost}`);
  line('owner', plan.owner);
  line('lasts', plan.lasts);
  line('undo', parts.every((one) => one.plan.reversible) ? 'stored on each node, which reverts by itself unless confirmed' : 'deleted entries cannot be put back; they are learned anew'); // prettier-ignore
  for (const { target, why } of skipped) line('left out', `${target}: ${why}`);
  line('expires', new Date(rollout.expiresAt).toISOString());
}

const good = new Set(['confirmed', 'healed']);
const bad = new Set(['failed', 'not undone']);

/** One target as it stands. */
export function printRow({ target, wave, state, says, changes, undone }: RolloutRow): void {
  const colour = good.has(state) ? paint.green : bad.has(state) ? paint.red : paint.yellow;
  const words = `${target}${wave === undefined ? '' : paint.dim(` wave ${wave}`)}  ${colour(state)}`;
  print(`  ${words}${says ? `  ${paint.dim(wrapped(says, 6))}` : ''}`);
  for (const one of changes) for (const read of one.proof) print(`      ${paint.dim(`read back: ${read.slice(0, 100)}`)}`); // prettier-ignore
  for (const one of undone ?? []) for (const read of one.proof) print(`      ${paint.dim(`read back: ${read.slice(0, 100)}`)}`); // prettier-ignore
}

export function printRolloutEnd({ outcome, says, rows, report }: RolloutResult): void {
  const colour = good.has(outcome) ? paint.green : paint.yellow;
  print();
  rows.forEach(printRow);
  print();
  print(`${colour(paint.bold(outcome))}  ${wrapped(says, outcome.length + 2)}`);
  if (report !== undefined) print(`${paint.dim('report')}  ${report}`);
}

/** `wave 2, changing: 3 confirmed, 2 changing, 15 planned` */
export const rolloutLine = (phase: string, wave: number | undefined, rows: readonly RolloutRow[]): string =>
  `  ${wave === undefined ? '' : `wave ${wave}, `}${phase}: ${tally(rows)} …`;
