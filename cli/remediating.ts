import type { WorkflowHandle } from '@temporalio/client';
import { progressOf } from '../client/plans.ts';
import type { ChangeProgress, RemediateResult } from '../domain/runs.ts';
import { followed } from './following.ts';
import { clearProgress, paint, print, progress } from './output.ts';
import { printChange, printPlan } from './render/plan.ts';
import type { Session } from './session.ts';

const pollMs = 150;

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
  const done = await followed<RemediateResult>(handle, look, pollMs);
  for (const id of shown.keys()) await stages(id).catch(() => {});
  if (!quiet) done.changes.forEach(printChange);
  return done;
}
