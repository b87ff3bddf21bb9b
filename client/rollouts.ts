import { setTimeout as sleep } from 'node:timers/promises';
import type { WorkflowHandle } from '@temporalio/client';
import { digestOf } from '../domain/digest.ts';
import { type RolloutInput, type RolloutProgress, type RolloutResult, type SignedRollout, rolloutId } from '../domain/rollout.ts'; // prettier-ignore
import { runName } from '../domain/runs.ts';
import { UserError, exit, failureOf } from './errors.ts';
import { progressOf } from './plans.ts';
import { findRun } from './runs.ts';
import { type Reach, taskTimeout } from './start.ts';

const pollMs = 300;
/** How many of the newest a name is looked for in. */
const newest = 100;

/** Starts a rollout; it diagnoses its targets, plans, and waits for people whatever becomes of this command. */
export async function startRollout(
  { engine, taskQueue, inventory }: Reach,
  name: string,
  input: Omit<RolloutInput, 'inventory' | 'visible'>,
): Promise<WorkflowHandle> {
  return engine.client.workflow.start('rollout', {
    workflowId: rolloutId(name),
    taskQueue,
    args: [{ ...input, inventory: inventory.name, visible: engine.visible }],
    workflowTaskTimeout: taskTimeout,
    staticSummary: `a rollout for ${input.targets.length} targets`,
  });
}

/** The run or rollout that a person means. @throws UserError where there is none such, or where it may be any of several */
export async function findRunOrRollout(
  reach: Reach,
  text: string,
): Promise<{ name: string; rollout?: WorkflowHandle }> {
  const { engine, taskQueue } = reach;
  const rollouts: string[] = [];
  const query = `WorkflowType = "rollout" AND TaskQueue = "${taskQueue}"`;
  for await (const { workflowId } of engine.client.workflow.list({ query })) {
    const name = workflowId.replace(/^rollout\//, '');
    if (runName.test(name)) rollouts.push(name);
    if (rollouts.length >= newest) break;
  }
  const name = await findRun(reach, text, rollouts);
  return { name, ...(rollouts.includes(name) && { rollout: engine.client.workflow.getHandle(rolloutId(name)) }) };
}

/** How a rollout stands: from its worker while it runs, else from its result. */
export async function rolloutNow(handle: WorkflowHandle): Promise<RolloutProgress | RolloutResult> {
  const { status } = await handle.describe();
  if (status.name === 'RUNNING') return progressOf<RolloutProgress>(handle);
  try {
    return (await handle.result()) as RolloutResult;
  } catch (error) {
    throw failureOf(error);
  }
}

/**
 * Waits until a rollout is planned, or ended without a plan.
 * @param tell is told of each look
 * @throws UserError where what it shows is not what its digests name
 */
export async function awaitRollout(
  handle: WorkflowHandle,
  tell: (progress: RolloutProgress) => void = () => {},
): Promise<RolloutProgress | RolloutResult> {
  for (;;) {
    const now = await rolloutNow(handle);
    // What is shown must be what is signed for: the digests are computed here and not believed.
    if (now.signed && !genuine(now.signed)) throw new UserError('the rollout is not the one that its digest names; do not decide on it', exit.failed); // prettier-ignore
    if ('outcome' in now || (now.phase !== 'diagnosing' && now.phase !== 'planning')) return now;
    tell(now);
    await sleep(pollMs);
  }
}

const genuine = ({ rollout, digest }: SignedRollout): boolean =>
  digestOf(rollout) === digest && rollout.waves.flat().every((part) => digestOf(part.plan) === part.digest);
