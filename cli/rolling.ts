import type { WorkflowHandle } from '@temporalio/client';
import { progressOf } from '../client/plans.ts';
import type { RolloutProgress, RolloutResult } from '../domain/rollout.ts';
import { followed } from './following.ts';
import { clearProgress, paint, print, progress } from './output.ts';
import { printRollout, rolloutLine } from './render/rollout.ts';

const pollMs = 300;

/** Shows a rollout as it goes, a line for each step of a target, to its end. */
export async function followRollout(handle: WorkflowHandle, quiet: boolean): Promise<RolloutResult> {
  const started = Date.now();
  const shown = new Map<string, string>();
  let planShown = false;
  const look = async (): Promise<void> => {
    const { phase, wave, rows, signed, needs } = await progressOf<RolloutProgress>(handle);
    if (quiet) return;
    if (phase === 'waiting for approval' && signed && !planShown) {
      planShown = true;
      clearProgress();
      printRollout(signed, needs);
    }
    if (phase === 'changing' || phase === 'putting back')
      for (const { target, state, says } of rows) {
        if (state === 'planned' || state === 'skipped' || shown.get(target) === state) continue;
        shown.set(target, state);
        clearProgress();
        const seconds = ((Date.now() - started) / 1000).toFixed(1).padStart(6);
        print(`  ${paint.dim(`${seconds} s`)}  ${target}  ${state}${says ? paint.dim(`  ${says.slice(0, 150)}`) : ''}`);
      }
    progress(rolloutLine(phase, wave, rows));
  };
  return followed<RolloutResult>(handle, look, pollMs);
}
