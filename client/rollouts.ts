import { setTimeout as sleep } from 'node:timers/promises';
import type { WorkflowHandle } from '@temporalio/client';
import { digestOf } from '../domain/digest.ts';
import { type RolloutInput, type RolloutProgress, type RolloutResult, type SignedRollout, rolloutId } from '../domain/rollout.ts'; // prettier-ignore
import { UserError, exit, failureOf } from './errors.ts';
import { progressOf } from './plans.ts';
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
    memo: { targets: input.targets.length, requester: input.requester },
    workflowTaskTimeout: taskTimeout,
    staticSummary: `a rollout for ${input.targets.length} targets`,
  });
}

/** One rollout as the server lists it. */
export interface KnownRollout {
  name: string;
  targets: number;
  status: string;
  started: Date;
}

/** Rollouts of this inventory, the newest first. */
export async function knownRollouts({ engine, taskQueue }: Reach): Promise<KnownRollout[]> {
  const found: KnownRollout[] = [];
  const query = `WorkflowType = "rollout" AND TaskQueue = "${taskQueue}"`;
  for await (const { workflowId, memo, status, startTime } of engine.client.workflow.list({ query })) {
    const name = workflowId.replace(/^rollout\//, '');
    if (!/^[A-Za-z0-9][A-Za-z0-9-]{0,63}$/.test(name)) continue;
    found.push({
      name,
      targets: Number(memo?.['targets'] ?? 0),
      status: status.name.toLowerCase(),
      started: startTime,
    });
    if (found.length >= newest) break;
  }
  return found.toSorted((a, b) => b.started.getTime() - a.started.getTime());
}

/** The rollout that a person means by its name or the end of it; undefined where it is none's. */
export async function findRollout(
  reach: Reach,
  text: string,
): Promise<{ name: string; handle: WorkflowHandle } | undefined> {
  const known = (await knownRollouts(reach)).map(({ name }) => name);
  const name = known.find((one) => one === text) ?? known.find((one) => text !== '' && one.endsWith(text));
  return name === undefined ? undefined : { name, handle: reach.engine.client.workflow.getHandle(rolloutId(name)) };
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
 * Waits for the plan. Undefined when the rollout ended without one.
 * @param tell is told of each look
 */
export async function awaitRollout(
  handle: WorkflowHandle,
  tell: (progress: RolloutProgress) => void = () => {},
): Promise<SignedRollout | undefined> {
  for (;;) {
    const now = await rolloutNow(handle);
    const { signed } = now;
    // What is shown must be what is signed for: the digests are computed here and not believed.
    if (signed && !genuine(signed)) throw new UserError('the rollout is not the one that its digest names; do not decide on it', exit.failed); // prettier-ignore
    if ('outcome' in now) return signed;
    if (now.phase !== 'diagnosing' && now.phase !== 'planning') return signed;
    tell(now);
    await sleep(pollMs);
  }
}

const genuine = ({ rollout, digest }: SignedRollout): boolean =>
  digestOf(rollout) === digest && rollout.waves.flat().every((part) => digestOf(part.plan) === part.digest);
