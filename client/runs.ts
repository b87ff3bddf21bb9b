import { defineSearchAttributeKey } from '@temporalio/common';
import { isEnded, isGone } from '../domain/errors.ts';
import { type DiagnoseResult, type RemediateResult, runName } from '../domain/runs.ts';
import type { Conclusion } from '../domain/verdict.ts';
import { evidenceStore } from '../worker/evidence.ts';
import { UserError, failureOf } from './errors.ts';
import type { Reach } from './start.ts';

/** One diagnosis as the server lists it. */
export interface KnownRun {
  run: string;
  target: string;
  status: string;
  /** Causes that were found, or why there is none; empty while it runs, and on servers without search attributes. */
  conclusion: string;
  started: Date;
}

/** How many of the newest runs a name is looked for in. */
const newest = 500;
const found = defineSearchAttributeKey('UndropConclusion', 'KEYWORD');

/** Runs of this inventory, the newest first. */
export async function knownRuns({ engine, taskQueue }: Reach, most = newest): Promise<KnownRun[]> {
  const runs: KnownRun[] = [];
  const query = `WorkflowType = "diagnose" AND TaskQueue = "${taskQueue}"`;
  for await (const info of engine.client.workflow.list({ query })) {
    // On a shared server anybody may name a workflow anything.
    const run = info.workflowId.replace(/^diagnose\//, '');
    if (!runName.test(run)) continue;
    runs.push({
      run,
      target: typeof info.memo?.['target'] === 'string' ? info.memo['target'] : '',
      status: info.status.name.toLowerCase(),
      conclusion: info.typedSearchAttributes.get(found) ?? '',
      started: info.startTime,
    });
    if (runs.length >= most) break;
  }
  return runs.toSorted((a, b) => b.started.getTime() - a.started.getTime());
}

/**
 * The run that a person means: its name, the end of its name, or `last`.
 * @param others names of something else that may be meant too
 * @throws UserError that lists the newest runs when there is no such one, or more than one
 */
export async function findRun(session: Reach, text: string, others: readonly string[] = []): Promise<string> {
  const runs = (await knownRuns(session)).map(({ run }) => run);
  const [last] = runs;
  if (text === 'last' && last !== undefined) return last;
  const matching = [...others, ...runs].filter((run) => run.endsWith(text));
  if (matching.includes(text)) return text;
  const [only] = matching;
  if (only !== undefined && matching.length === 1) return only;
  const some = (matching.length ? matching : runs).slice(0, 5);
  const which = matching.length ? `"${text}" may be any of` : `there is no run "${text}" of this inventory; the newest`;
  throw new UserError(some.length ? `${which}: ${some.join(', ')}` : 'there are no runs of this inventory yet');
}

/** What a finished diagnosis found. @throws UserError when it is still in progress, failed or was cancelled */
export async function diagnosisOf({ engine }: Reach, run: string): Promise<DiagnoseResult> {
  const handle = engine.client.workflow.getHandle(`diagnose/${run}`);
  const { status } = await handle.describe();
  if (status.name === 'RUNNING')
    throw new UserError(`run ${run} is still in progress: \`undrop watch ${run}\` shows how far it is`);
  try {
    return (await handle.result()) as DiagnoseResult;
  } catch (error) {
    throw failureOf(error);
  }
}

/** The whole conclusion; undefined where the worker, and with it the evidence, is on another machine. */
export async function conclusionOf({ conclusion }: DiagnoseResult): Promise<Conclusion | undefined> {
  return evidenceStore()
    .get<Conclusion>(conclusion)
    .catch(() => undefined);
}

/** Every remediation of a run that has ended, the newest first: a run may be planned more than once. */
export async function endedRemediations({ engine }: Reach, run: string): Promise<RemediateResult[]> {
  const query = `WorkflowId = "remediate/${run}" AND ExecutionStatus = "Completed"`;
  const results: { at: Date; result: RemediateResult }[] = [];
  for await (const { workflowId, runId, startTime } of engine.client.workflow.list({ query })) {
    const result = (await engine.client.workflow.getHandle(workflowId, runId).result()) as RemediateResult;
    results.push({ at: startTime, result });
  }
  return results.toSorted((a, b) => b.at.getTime() - a.at.getTime()).map(({ result }) => result);
}

/** The newest remediation of a run. */
export interface KnownRemediation {
  open: boolean;
  result?: RemediateResult;
  /** Why it ended without a result: it was refused while everything was stopped, say, or terminated. */
  failed?: string;
}

/** The newest remediation of a run; undefined where none was ever started. */
export async function remediationOf({ engine }: Reach, run: string): Promise<KnownRemediation | undefined> {
  const handle = engine.client.workflow.getHandle(`remediate/${run}`);
  try {
    const { status } = await handle.describe();
    if (status.name === 'RUNNING') return { open: true };
    return { open: false, result: (await handle.result()) as RemediateResult };
  } catch (error) {
    if (isGone(error)) return undefined;
    // What became of the plan hides nothing of what the run has found.
    if (isEnded(error)) return { open: false, failed: failureOf(error).message };
    throw failureOf(error);
  }
}

/** How one has ended, as programs are told of it: one that failed in the words of one that has a result. */
export const endedAs = ({
  result,
  failed,
}: KnownRemediation): RemediateResult | Pick<RemediateResult, 'outcome' | 'says'> | undefined =>
  result ?? (failed === undefined ? undefined : { outcome: 'failed', says: failed });
