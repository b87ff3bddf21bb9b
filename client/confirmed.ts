import type { WorkflowHandle } from '@temporalio/client';
import type { ChangeInput, ChangeResult, DiagnoseResult } from '../domain/runs.ts';
import { UserError } from './errors.ts';
import { rolloutNow } from './rollouts.ts';
import { diagnosisOf, endedRemediations } from './runs.ts';
import type { Reach } from './start.ts';

/** A confirmed change, and what its node needs to undo it. */
export interface Confirmed {
  input: ChangeInput;
  change: ChangeResult;
}

/** Confirmed changes of a run, the newest first: each is undone on the values that the next one found. */
export async function ofRun(reach: Reach, run: string): Promise<Confirmed[]> {
  const ended = (await endedRemediations(reach, run)).filter(({ signed }) => signed !== undefined);
  if (ended.length === 0) return [];
  const diagnosis = await diagnosisOf(reach, run);
  return ended.flatMap(({ signed, changes }) =>
    signed ? confirmedOf(`remediate/${run}`, signed, changes, diagnosis) : [],
  );
}

/** The same of a rollout. What it has put back by itself is not among them. */
export async function ofRollout(reach: Reach, handle: WorkflowHandle): Promise<Confirmed[]> {
  const now = await rolloutNow(handle);
  if (!('outcome' in now)) throw new UserError('the rollout is still in progress: `undrop cancel` ends it first');
  const { signed, rows } = now;
  const found: Confirmed[] = [];
  for (const { target, changes, state } of rows.toReversed()) {
    const part = signed?.rollout.waves.flat().find((one) => one.target === target);
    if (!part || state === 'undone' || !changes.some(({ outcome }) => outcome === 'confirmed')) continue;
    const { path, evidence } = await diagnosisOf(reach, part.plan.run);
    found.push(...confirmedOf(handle.workflowId, part, changes, { path, evidence }));
  }
  return found;
}

function confirmedOf(
  remediation: string,
  { plan, digest }: ChangeInput['signed'],
  changes: readonly ChangeResult[],
  { path, evidence }: Pick<DiagnoseResult, 'path' | 'evidence'>,
): Confirmed[] {
  return changes
    .filter(({ outcome }) => outcome === 'confirmed')
    .map((change) => {
      const index = plan.changes.findIndex(({ place }) => place === change.place);
      return { input: { remediation, signed: { plan, digest }, index, approvals: [], path, evidence }, change };
    })
    .toReversed();
}
