import { setTimeout as sleep } from 'node:timers/promises';
import type { WorkflowHandle } from '@temporalio/client';
import type { Decision } from '../domain/approval.ts';
import { digestOf } from '../domain/digest.ts';
import { isGone, isTaken } from '../domain/errors.ts';
import type { SignedPlan } from '../domain/plan.ts';
import {
  type ChangeInput,
  type ChangeResult,
  type RemediateProgress,
  type RemediateResult,
  changeId,
} from '../domain/runs.ts';
import { UserError, exit, failureOf } from './errors.ts';
import type { Reach } from './start.ts';

const pollMs = 150;
/** A change that is cancelled puts values back and proves it; a node may be slow. */
const cancelMs = 90_000;
/** An Update waits for a worker for ever; people do not. */
const answerMs = 15_000;

/** @throws UserError when no worker answers */
export const progressOf = async <T = RemediateProgress>(handle: WorkflowHandle): Promise<T> => {
  const late = sleep(answerMs, undefined, { ref: false }).then((): never => {
    throw new UserError('no worker answers for this run: start one with `undrop worker`', exit.failed);
  });
  return Promise.race([handle.query<T>('progress'), late]);
};

/** Waits for the plan. Undefined when the remediation ended without one. @throws UserError with the reason when it failed */
export async function awaitPlan(handle: WorkflowHandle, waits = (): void => {}): Promise<SignedPlan | undefined> {
  for (;;) {
    const { phase, signed } = await progressOf(handle);
    // What is shown must be what is signed for: the digest is computed here and not believed.
    if (signed && digestOf(signed.plan) !== signed.digest)
      throw new UserError('the plan is not the one that its digest names; do not decide on it', exit.failed);
    if (phase !== 'planning') return signed;
    if ((await handle.describe()).status.name !== 'RUNNING') return withoutPlan(handle);
    waits();
    await sleep(pollMs);
  }
}

const withoutPlan = async (handle: WorkflowHandle): Promise<undefined> =>
  handle.result().then(() => undefined, (error: unknown) => { throw failureOf(error); }); // prettier-ignore

/** What the server says of an Update that no workflow has looked at: it came while the plan was ending. */
const unseen = /wasn't processed by worker/;

/** A decision was sent, and nobody has said yet whether it counts. */
export class HandedOver extends UserError {
  constructor() {
    super(
      'the decision was handed over, and it is not yet known whether it counts: no worker answers for this plan. ' +
        'That is decided as soon as one does (`undrop worker`); `undrop show` tells it then, and `undrop cancel` closes the plan',
      exit.failed,
    );
  }
}

/** Sends a signed decision. @throws UserError with the reason when it does not count, HandedOver when nobody says so in time */
export async function decide(handle: WorkflowHandle, decision: Decision, mayAskAgain = true): Promise<void> {
  const late = sleep(answerMs, undefined, { ref: false }).then((): never => {
    throw new HandedOver();
  });
  try {
    await Promise.race([handle.executeUpdate('decide', { args: [decision] }), late]);
  } catch (error) {
    if (error instanceof UserError) throw error;
    if (mayAskAgain && unseen.test(failureOf(error).message)) return decide(handle, decision, false);
    // In the moment in which a plan ends the server says "aborted by closing workflow", later that it has completed.
    const why = isGone(error)
      ? 'the plan has completed: it is already decided, or was cancelled'
      : failureOf(error).message;
    throw new UserError(why, exit.unchanged);
  }
}

/** Whether a plan still waits after a decision that counted: the quorum is larger than one. */
export const stillOpen = async (handle: WorkflowHandle): Promise<boolean> =>
  (await handle.describe()).status.name === 'RUNNING' && (await progressOf(handle)).phase === 'waiting for approval';

/** Undoes one confirmed change under the node's lock. @throws UserError when another change holds the node */
export async function rollBack(
  { engine, taskQueue, inventory }: Reach,
  input: ChangeInput,
  change: ChangeResult,
): Promise<{ state: string; proof: string[] }> {
  try {
    return (await engine.client.workflow.execute('rollback', {
      workflowId: changeId(inventory.name, change.node),
      taskQueue,
      args: [input, change],
      staticSummary: `undo ${change.id} at ${change.place}`,
    })) as { state: string; proof: string[] };
  } catch (error) {
    if (isTaken(error))
      throw new UserError(
        `another change is in progress on ${change.node}; try again when it has ended`,
        exit.unchanged,
      );
    throw failureOf(error);
  }
}

/** Waits until a cancelled workflow has cleaned up, and says how it ended. */
export const endOf = async (handle: WorkflowHandle): Promise<string> =>
  Promise.race([
    handle.result().then(
      (result) => (result as Partial<RemediateResult>).says ?? 'it had ended already',
      (error: unknown) => failureOf(error).message,
    ),
    sleep(cancelMs, 'cancelled, but it has not ended yet: is there a worker?', { ref: false }),
  ]);
