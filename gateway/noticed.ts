import { WorkflowFailedError } from '@temporalio/client';
import { failureOf } from '../client/errors.ts';
import { genuine } from '../client/rollouts.ts';
import type { Need, RecordedDecision } from '../domain/approval.ts';
import { digestOf } from '../domain/digest.ts';
import { isGone } from '../domain/errors.ts';
import type { SignedPlan } from '../domain/plan.ts';
import { type RolloutProgress, type RolloutResult, type SignedRollout, targetsText } from '../domain/rollout.ts';
import { type RemediateProgress, type RemediateResult, runName } from '../domain/runs.ts';
import { progressOfAll } from './asking.ts';
import type { Gateway } from './gateway.ts';
import type { Notice } from './notices.ts';
import { decisionLine } from './view.ts';

/** One execution of a workflow that makes a plan: a run may be planned more than once, each time with a plan of its own. */
export interface Planning {
  kind: 'plan' | 'rollout';
  /** Name of the run or rollout. */
  run: string;
  workflowId: string;
  /** Which execution, by Temporal. */
  runId: string;
}

type Progress = RemediateProgress | RolloutProgress;
type Result = RemediateResult | RolloutResult;

/** Those that go on. */
export const running = async (gateway: Gateway): Promise<Planning[]> => listed(gateway, 'ExecutionStatus = "Running"');

/** Those that have ended since a moment, by Temporal's clock. */
export const endedSince = async (gateway: Gateway, since: number): Promise<Planning[]> =>
  // What still runs closes in a far future, as some servers see it.
  listed(gateway, `ExecutionStatus != "Running" AND CloseTime > "${new Date(since).toISOString()}"`);

async function listed({ engine, taskQueue }: Gateway, which: string): Promise<Planning[]> {
  const found: Planning[] = [];
  for (const [type, kind] of [['remediate', 'plan'], ['rollout', 'rollout']] as const) {
    const query = `WorkflowType = "${type}" AND TaskQueue = "${taskQueue}" AND ${which}`;
    for await (const { workflowId, runId } of engine.client.workflow.list({ query })) {
      const run = workflowId.replace(`${type}/`, '');
      if (runName.test(run)) found.push({ kind, run, workflowId, runId });
    }
  }
  return found;
} // prettier-ignore

/** Notices of those among them that wait for people now; of those that nobody speaks for in time there is none yet. */
export async function waiting(gateway: Gateway, all: readonly Planning[]): Promise<Notice[]> {
  const answers = await progressOfAll<Progress>(gateway, all);
  const notices = all.map(async (one, at) => {
    const progress = answers[at];
    if (progress?.phase !== 'waiting for approval' || !progress.signed) return undefined;
    const needs = needsOf(progress);
    return noticeOf(gateway, one, 'waiting', progress.signed, needs && { needs });
  });
  return (await Promise.all(notices)).filter((one) => one !== undefined);
}

/**
 * How one ended, and what was decided; undefined where it had no plan, or the server has forgotten it.
 * @param told what was told of it while it waited
 */
export async function endOf(gateway: Gateway, one: Planning, told: Notice | undefined): Promise<Notice | undefined> {
  const { workflowId, runId } = one;
  try {
    const result = (await gateway.engine.client.workflow
      .getHandle(workflowId, runId, { followRuns: false })
      .result()) as Result;
    if (!result.signed) return undefined;
    return await noticeOf(gateway, one, 'ended', result.signed, { ...result, needs: needsOf(result) });
  } catch (error) {
    if (isGone(error)) return undefined;
    if (!(error instanceof WorkflowFailedError)) throw error;
    // One that was terminated, say, has no result, and must not hold up what else there is to tell.
    const [last] = told ? [] : await progressOfAll<Progress>(gateway, [one]);
    const signed = told?.signed ?? last?.signed;
    const needs = told?.needs ?? (last && needsOf(last));
    const decisions = last?.decisions ?? [];
    return signed && noticeOf(gateway, one, 'ended', signed, { needs, decisions, outcome: 'failed', says: failureOf(error).message }); // prettier-ignore
  }
}

const needsOf = (one: Progress | Result): readonly Need[] | undefined =>
  'judged' in one ? one.judged?.people : 'needs' in one ? one.needs : undefined;

interface More {
  needs?: readonly Need[] | undefined;
  decisions?: readonly RecordedDecision[];
  outcome?: string;
  says?: string;
}

async function noticeOf(
  { engine, config }: Gateway,
  { kind, run, runId }: Planning,
  word: 'waiting' | 'ended',
  signed: SignedPlan | SignedRollout,
  { needs, decisions, outcome, says }: More = {},
): Promise<Notice | undefined> {
  // What is shown must be what is signed for: what is another than its digest names is told to nobody.
  if (!('rollout' in signed ? genuine(signed) : digestOf(signed.plan) === signed.digest)) return undefined;
  const target =
    'rollout' in signed
      ? targetsText(signed.rollout.waves.flat().map((part) => part.target))
      : await engine.client.workflow.getHandle(`diagnose/${run}`).describe().then(({ memo }) => memo?.['target'], unlessGone); // prettier-ignore
  return {
    event: `${kind}.${word}`,
    run,
    execution: runId,
    target: typeof target === 'string' ? target : '',
    url: new URL(`/${kind === 'plan' ? 'runs' : 'rollouts'}/${run}`, config.url).href,
    signed,
    ...(needs && { needs }),
    ...(outcome !== undefined && { outcome, says: says ?? '', decisions: (decisions ?? []).map(decisionLine) }),
  };
}

function unlessGone(error: unknown): undefined {
  if (!isGone(error)) throw error;
}
