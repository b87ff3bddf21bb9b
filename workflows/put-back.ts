import { executeChild } from '@temporalio/workflow';
import { innermost } from '../domain/errors.ts';
import type { Part, RolloutProgress } from '../domain/rollout.ts';
import { type ChangeInput, changeId } from '../domain/runs.ts';
import type { Board } from './rollout-board.ts';
import { rollback } from './rollback.ts';

/**
 * Puts back every confirmed change of a rollout, the newest first. A node that is gone keeps no other from being put back.
 * @param inputOf what a change of a part was given
 */
export async function putBack(
  inventory: string,
  { signed, rows }: RolloutProgress,
  inputOf: (part: Part, index: number) => ChangeInput,
  stand: Board['stand'],
): Promise<void> {
  const parts = signed?.rollout.waves.flat() ?? [];
  for (const row of rows.toReversed()) {
    const part = parts.find(({ target }) => target === row.target);
    const kept = row.changes.filter(({ outcome }) => outcome === 'confirmed').toReversed();
    if (!part || kept.length === 0) continue;
    row.undone = [];
    for (const one of kept) {
      const index = part.plan.changes.findIndex(({ place }) => place === one.place);
      const undone = await executeChild(rollback, {
        workflowId: changeId(inventory, one.node),
        staticSummary: `undo ${one.id} at ${one.place}`,
        args: [inputOf(part, index), one],
      }).catch((error: unknown) => ({ state: 'failed', proof: [innermost(error)] }));
      row.undone.push({ place: one.place, ...undone });
    }
    const back = row.undone.every(({ state }) => state === 'reverted' || state === 'none');
    if (row.state === 'confirmed')
      stand(row.target, back ? 'undone' : 'not undone', back ? 'it helped, and was put back with the others' : 'it could not be put back'); // prettier-ignore
    else if (!back) stand(row.target, 'not undone', row.says);
  }
  for (const row of rows)
    if (row.changes.some(({ outcome }) => ['conflict', 'stuck', 'unknown'].includes(outcome)))
      stand(row.target, 'not undone', row.says);
}
