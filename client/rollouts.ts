import { setTimeout as sleep } from 'node:timers/promises';
import type { WorkflowExecutionInfo, WorkflowHandle } from '@temporalio/client';
import { defineSearchAttributeKey } from '@temporalio/common';
import { digestOf } from '../domain/digest.ts';
import { type RolloutInput, type RolloutProgress, type RolloutResult, type SignedRollout, rolloutId } from '../domain/rollout.ts'; // prettier-ignore
import { isGone } from '../domain/errors.ts';
import { runName } from '../domain/runs.ts';
import { UserError, exit, failureOf } from './errors.ts';
import { progressOf } from './plans.ts';
import { findRun } from './runs.ts';
import { type Reach, taskTimeout } from './start.ts';

const pollMs = 300;
/** How many of the newest a name is looked for in. */
const newest = 100;
const phaseKey = defineSearchAttributeKey('UndropPhase', 'KEYWORD');
const outcomeKey = defineSearchAttributeKey('UndropConclusion', 'KEYWORD');

/** One rollout as the server lists it. */
export interface KnownRollout {
  rollout: string;
  /** None where it was started by an undrop that did not note them. */
  targets: string[];
  status: string;
  /** Its phase, or how it ended; the same as `status` on servers without search attributes. */
  state: string;
  started: Date;
}

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
    memo: { targets: input.targets },
    workflowTaskTimeout: taskTimeout,
    staticSummary: `a rollout for ${input.targets.length} targets`,
  });
}

/** Rollouts of this inventory, the newest first. */
export async function knownRollouts({ engine, taskQueue }: Reach, most = newest): Promise<KnownRollout[]> {
  const known: KnownRollout[] = [];
  const query = `WorkflowType = "rollout" AND TaskQueue = "${taskQueue}"`;
  for await (const info of engine.client.workflow.list({ query })) {
    const one = knownBy(info);
    if (one) known.push(one);
    if (known.length >= most) break;
  }
  return known.toSorted((a, b) => b.started.getTime() - a.started.getTime());
}

/** A rollout by its whole name; undefined where this inventory has none of it. */
export async function rolloutNamed(
  { engine, taskQueue }: Reach,
  name: string,
): Promise<{ known: KnownRollout; handle: WorkflowHandle } | undefined> {
  if (!runName.test(name)) return undefined;
  const handle = engine.client.workflow.getHandle(rolloutId(name));
  try {
    const info = await handle.describe();
    const known = info.type === 'rollout' && info.taskQueue === taskQueue ? knownBy(info) : undefined;
    return known && { known, handle };
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

/** Undefined for what has no name of a rollout: on a shared server anybody may name a workflow anything. */
function knownBy({
  workflowId,
  memo,
  status,
  typedSearchAttributes,
  startTime,
}: Omit<WorkflowExecutionInfo, 'raw'>): KnownRollout | undefined {
  const rollout = workflowId.replace(/^rollout\//, '');
  if (!runName.test(rollout)) return undefined;
  const { targets } = memo ?? {};
  const word = status.name.toLowerCase();
  const key = { running: phaseKey, completed: outcomeKey }[word];
  return {
    rollout,
    targets: Array.isArray(targets) ? targets.filter((one) => typeof one === 'string') : [],
    status: word,
    state: (key && typedSearchAttributes.get(key)) ?? word,
    started: startTime,
  };
}

/** The run or rollout that a person means. @throws UserError where there is none such, or where it may be any of several */
export async function findRunOrRollout(
  reach: Reach,
  text: string,
): Promise<{ name: string; rollout?: WorkflowHandle }> {
  const rollouts = (await knownRollouts(reach)).map(({ rollout }) => rollout);
  const name = await findRun(reach, text, rollouts);
  return { name, ...(rollouts.includes(name) && { rollout: reach.engine.client.workflow.getHandle(rolloutId(name)) }) };
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
    checkDigests(now);
    if ('outcome' in now || (now.phase !== 'diagnosing' && now.phase !== 'planning')) return now;
    tell(now);
    await sleep(pollMs);
  }
}

/**
 * What is shown must be what is signed for: the digests are computed here and not believed.
 * @throws UserError where one is another
 */
export function checkDigests({ signed }: Pick<RolloutProgress, 'signed'>): void {
  if (signed && !genuine(signed))
    throw new UserError('the rollout is not the one that its digest names; do not decide on it', exit.failed);
}

/** Whether a rollout and its plans are those that their digests name. */
export const genuine = ({ rollout, digest }: SignedRollout): boolean =>
  digestOf(rollout) === digest && rollout.waves.flat().every((part) => digestOf(part.plan) === part.digest);
