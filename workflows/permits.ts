import {
  CancellationScope,
  type ChildWorkflowHandle,
  ParentClosePolicy,
  sleep,
  startChild,
} from '@temporalio/workflow';
import { isTaken } from '../domain/errors.ts';
import type { Plan } from '../domain/plan.ts';
import { permitId } from '../domain/remit.ts';
import type { ChangeOutcome } from '../domain/runs.ts';
import { giveBack, permit } from './permit.ts';

/** How long a change waits for others of its rule to end, and how often it looks. */
const patienceMs = 300_000;
const lookAgainMs = 5_000;

export interface Permit {
  id: string;
  release(outcome: ChangeOutcome): Promise<void>;
}

/**
 * Takes one of the rule's permits. Counting what is in progress would be a race, since the index of running workflows lags;
 * a workflow id is given once.
 * @param waits is told of the first time that all are taken
 * @returns undefined when all stayed taken
 */
export async function takePermit({ inventory, policy }: Plan, waits: () => void): Promise<Permit | undefined> {
  const { rule = '', standing } = policy ?? {};
  const until = Date.now() + patienceMs;
  for (let first = true; ; first = false) {
    for (let slot = 0; slot < (standing?.atOnce ?? 0); slot++) {
      const id = permitId(inventory, rule, slot);
      try {
        // Cancelled with its change it could not say how that ended.
        const child = await CancellationScope.nonCancellable(() =>
          startChild(permit, { workflowId: id, parentClosePolicy: ParentClosePolicy.TERMINATE }),
        );
        return { id, release: async (outcome) => release(child, outcome) };
      } catch (error) {
        if (!isTaken(error)) throw error;
      }
    }
    if (Date.now() >= until) return undefined;
    if (first) waits();
    await sleep(lookAgainMs);
  }
}

/** Waits for its end: ended with its change it would be taken for a failure. Somebody may have ended it already. */
async function release(child: ChildWorkflowHandle<typeof permit>, outcome: ChangeOutcome): Promise<void> {
  await CancellationScope.nonCancellable(async () => {
    await child.signal(giveBack, outcome);
    await child.result();
  }).catch(() => {});
}
