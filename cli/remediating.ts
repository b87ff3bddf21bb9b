import { setTimeout as sleep } from 'node:timers/promises';
import type { WorkflowHandle } from '@temporalio/client';
import type { Decision } from '../domain/approval.ts';
import { digestOf } from '../domain/digest.ts';
import type { SignedPlan } from '../domain/plan.ts';
import {
  type ChangeInput,
  type ChangeProgress,
  type ChangeResult,
  type DiagnoseResult,
  type RemediateInput,
  type RemediateProgress,
  type RemediateResult,
  changeId,
} from '../domain/runs.ts';
import { Silence, failureOf, taskTimeout } from './diagnosing.ts';
import { UserError, clearProgress, exit, paint, print, progress } from './output.ts';
import { printChange, printPlan } from './render/plan.ts';
import type { Session } from './session.ts';

const pollMs = 150;
/** A change that is cancelled puts values back and proves it; a node may be slow. */
const cancelMs = 90_000;
/** An Update waits for a worker for ever; people do not. */
const answerMs = 15_000;

/** Starts the plan for a diagnosis; it waits for people whatever becomes of this command. */
export async function startRemediation(
  { engine, taskQueue, inventory }: Session,
  { run, path, evidence, runbook, conclusion }: DiagnoseResult,
  requester: string,
  override?: RemediateInput['override'],
): Promise<WorkflowHandle> {
  const diagnosis = { run, path, evidence, runbook, conclusion };
  const input: RemediateInput = {
    inventory: inventory.name,
    requester,
    diagnosis,
    visible: engine.visible,
    ...(override && { override }),
  };
  try {
    return await engine.client.workflow.start('remediate', {
      workflowId: `remediate/${run}`,
      taskQueue,
      args: [input],
      workflowTaskTimeout: taskTimeout,
      staticSummary: `plan for ${path.text}`,
    });
  } catch (error) {
    if (error instanceof Error && error.name === 'WorkflowExecutionAlreadyStartedError')
      throw new UserError(`run ${run} has a plan in progress: \`undrop show ${run}\``);
    throw error;
  }
}

export const progressOf = async (handle: WorkflowHandle): Promise<RemediateProgress> => {
  const late = sleep(answerMs, undefined, { ref: false }).then(() => {
    throw new UserError('no worker answers for this run: start one with `undrop worker`', exit.failed);
  });
  return Promise.race([handle.query<RemediateProgress>('progress'), late]);
};

/** Waits for the plan. Undefined when the remediation ended without one. */
export async function awaitPlan(handle: WorkflowHandle): Promise<SignedPlan | undefined> {
  for (;;) {
    const { phase, signed } = await progressOf(handle);
    // What is shown must be what is signed for: the digest is computed here and not believed.
    if (signed && digestOf(signed.plan) !== signed.digest)
      throw new UserError('the plan is not the one that its digest names; do not decide on it', exit.failed);
    if (phase !== 'planning') return signed;
    if ((await handle.describe()).status.name !== 'RUNNING') return undefined;
    progress('  reading before-values …');
    await sleep(pollMs);
  }
}

/** Sends a signed decision. @throws UserError with the reason when it does not count */
export async function decide(handle: WorkflowHandle, decision: Decision): Promise<void> {
  const late = sleep(answerMs, undefined, { ref: false }).then(() => {
    throw new UserError(
      'no worker answers for this plan. The decision was sent and counts as soon as one does (`undrop worker`); `undrop cancel` closes the plan',
      exit.failed,
    );
  });
  try {
    await Promise.race([handle.executeUpdate('decide', { args: [decision] }), late]);
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw new UserError(failureOf(error).message, exit.unchanged);
  }
}

/** Whether a plan still waits after a decision that counted: the quorum is larger than one. */
export const stillOpen = async (handle: WorkflowHandle): Promise<boolean> =>
  (await handle.describe()).status.name === 'RUNNING' && (await progressOf(handle)).phase === 'waiting for approval';

/** Undoes one confirmed change under the node's lock. @throws UserError when another change holds the node */
export async function rollBack(
  { engine, taskQueue, inventory }: Session,
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
    if (error instanceof Error && error.name === 'WorkflowExecutionAlreadyStartedError')
      throw new UserError(
        `another change is in progress on ${change.node}; try again when it has ended`,
        exit.unchanged,
      );
    throw failureOf(error);
  }
}

/** Shows a remediation as it goes, to its end. */
export async function followRemediation(
  { engine }: Session,
  handle: WorkflowHandle,
  quiet: boolean,
): Promise<RemediateResult> {
  let waiting = false;
  const shown = new Map<string, number>();
  const stages = async (id: string): Promise<void> => {
    const { stages: all } = await engine.client.workflow.getHandle(id).query<ChangeProgress>('progress');
    if (quiet) return;
    for (const stage of all.slice(shown.get(id) ?? 0)) {
      clearProgress();
      print(`  ${paint.dim(`${(stage.at / 1000).toFixed(1).padStart(5)} s`)}  ${stage.says}`);
    }
    shown.set(id, all.length);
  };
  const result = handle.result() as Promise<RemediateResult>;
  let ended = false;
  const end = result.catch(() => {}).finally(() => (ended = true));
  const look = async (): Promise<void> => {
    const now = await progressOf(handle);
    if (now.phase === 'waiting for approval' && now.signed && !waiting && !quiet) {
      waiting = true;
      clearProgress();
      printPlan(now.signed);
    }
    if (now.changing !== undefined) await stages(now.changing);
    if (!quiet) progress(`  ${now.phase} …`);
  };
  const silence = new Silence();
  while (!ended) {
    await look().then(() => silence.broken(), () => silence.grows()); // prettier-ignore
    await Promise.race([end, sleep(pollMs)]);
  }
  clearProgress();
  try {
    const done = await result;
    for (const id of shown.keys()) await stages(id).catch(() => {});
    if (!quiet) done.changes.forEach(printChange);
    return done;
  } catch (error) {
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

/** The exit code of a remediation's end. */
export const codeOf = ({ outcome }: RemediateResult): number => {
  if (outcome === 'confirmed' || outcome === 'healed') return exit.ok;
  return outcome === 'failed' || outcome === 'partly' ? exit.failed : exit.unchanged;
};
