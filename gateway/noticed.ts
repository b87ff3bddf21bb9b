import { failureOf } from '../client/errors.ts';
import { rolloutNamed } from '../client/rollouts.ts';
import { remediationOf } from '../client/runs.ts';
import { type RolloutProgress, type RolloutResult, targetsText } from '../domain/rollout.ts';
import type { RemediateProgress } from '../domain/runs.ts';
import type { Gateway } from './gateway.ts';
import type { Notice } from './notices.ts';

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
    if (progress?.phase !== 'waiting for approval' || !progress.signed) continue;
    const { signed, judged } = progress;
    const { memo } = await workflow.getHandle(`diagnose/${run}`).describe();
    const target = typeof memo?.['target'] === 'string' ? memo['target'] : '';
    yield { event: 'plan.waiting', run, target, url: url(`/runs/${run}`), signed, ...(judged && { needs: judged.people }) }; // prettier-ignore
  }
  for await (const { workflowId } of running(gateway, 'rollout')) {
    const run = workflowId.replace(/^rollout\//, '');
    if (known.has(run)) continue;
    const progress = await progressOf<RolloutProgress>(workflowId);
    if (progress?.phase !== 'waiting for approval' || !progress.signed) continue;
    const { signed, needs, rows } = progress;
    const target = targetsText(rows.map((row) => row.target));
    yield { event: 'rollout.waiting', run, target, url: url(`/rollouts/${run}`), signed, ...(needs && { needs }) };
  }
}

const running = ({ engine, taskQueue }: Gateway, type: string) =>
  engine.client.workflow.list({
    query: `WorkflowType = "${type}" AND TaskQueue = "${taskQueue}" AND ExecutionStatus = "Running"`,
  });

/** How it ended that a notice told of; undefined while it goes on. */
export async function endOf(
  gateway: Gateway,
  { event, run }: Notice,
): Promise<{ outcome: string; says: string } | undefined> {
  if (event === 'plan.waiting') return (await remediationOf(gateway, run))?.result;
  const found = await rolloutNamed(gateway, run);
  if (!found || found.known.status === 'running') return undefined;
  return (found.handle.result() as Promise<RolloutResult>).catch((error: unknown) => ({ outcome: 'failed', says: failureOf(error).message })); // prettier-ignore
}
