import { WorkflowFailedError } from '@temporalio/client';
import { failureOf } from '../client/errors.ts';
import { genuine } from '../client/rollouts.ts';
import { digestOf } from '../domain/digest.ts';
import { isGone } from '../domain/errors.ts';
import type { SignedPlan } from '../domain/plan.ts';
import { type RolloutProgress, type RolloutResult, rolloutId, targetsText } from '../domain/rollout.ts';
import type { RemediateProgress, RemediateResult } from '../domain/runs.ts';
import type { Gateway } from './gateway.ts';
import type { Notice } from './notices.ts';

/** What is shown must be what is signed for: a plan that is another than its digest names is told to nobody. */
const genuinePlan = ({ plan, digest }: SignedPlan): boolean => digestOf(plan) === digest;

/**
 * Plans and rollouts that wait for people now.
 * @param known names of rollouts that everybody has been told of: a rollout is planned once, and is large
 */
export async function* waiting(gateway: Gateway, known: ReadonlySet<string>): AsyncGenerator<Notice> {
  const { workflow } = gateway.engine.client;
  const url = (path: string): string => new URL(path, gateway.config.url).href;
  const progressOf = async <T>(id: string) =>
    workflow
      .getHandle(id)
      .query<T>('progress')
      .catch(() => undefined);
  for await (const { workflowId } of running(gateway, 'remediate')) {
    const run = workflowId.replace(/^remediate\//, '');
    const progress = await progressOf<RemediateProgress>(workflowId);
    if (progress?.phase !== 'waiting for approval' || !progress.signed || !genuinePlan(progress.signed)) continue;
    const { signed, judged } = progress;
    const { memo } = await workflow.getHandle(`diagnose/${run}`).describe();
    const target = typeof memo?.['target'] === 'string' ? memo['target'] : '';
    yield { event: 'plan.waiting', run, target, url: url(`/runs/${run}`), signed, ...(judged && { needs: judged.people }) }; // prettier-ignore
  }
  for await (const { workflowId } of running(gateway, 'rollout')) {
    const run = workflowId.replace(/^rollout\//, '');
    if (known.has(run)) continue;
    const progress = await progressOf<RolloutProgress>(workflowId);
    if (progress?.phase !== 'waiting for approval' || !progress.signed || !genuine(progress.signed)) continue;
    const { signed, needs, rows } = progress;
    const target = targetsText(rows.map((row) => row.target));
    yield { event: 'rollout.waiting', run, target, url: url(`/rollouts/${run}`), signed, ...(needs && { needs }) };
  }
}

const running = ({ engine, taskQueue }: Gateway, type: string) =>
  engine.client.workflow.list({
    query: `WorkflowType = "${type}" AND TaskQueue = "${taskQueue}" AND ExecutionStatus = "Running"`,
  });

/** How it ended that a notice told of; undefined while it goes on, or when the server has forgotten it. */
export async function endOf(
  { engine }: Pick<Gateway, 'engine'>,
  { event, run }: Notice,
): Promise<{ outcome: string; says: string } | undefined> {
  const handle = engine.client.workflow.getHandle(event === 'plan.waiting' ? `remediate/${run}` : rolloutId(run));
  try {
    if ((await handle.describe()).status.name === 'RUNNING') return undefined;
    return (await handle.result()) as RemediateResult | RolloutResult;
  } catch (error) {
    if (isGone(error)) return undefined;
    // One that was terminated, say, has no result, and must not hold up what else there is to tell.
    if (error instanceof WorkflowFailedError) return { outcome: 'failed', says: failureOf(error).message };
    throw error;
  }
}
