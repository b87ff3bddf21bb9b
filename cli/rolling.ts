import { setTimeout as sleep } from 'node:timers/promises';
import type { WorkflowHandle } from '@temporalio/client';
import { failureOf } from '../client/errors.ts';
import { progressOf } from '../client/plans.ts';
import type { RolloutProgress, RolloutResult } from '../domain/rollout.ts';
import { Silence } from './diagnosing.ts';
import { clearProgress, exit, paint, print, progress } from './output.ts';
import { printRollout, rolloutLine } from './render/rollout.ts';

const pollMs = 300;

/** Shows a rollout as it goes, a line for each step of a target, to its end. */
export async function followRollout(handle: WorkflowHandle, quiet: boolean): Promise<RolloutResult> {
  const started = Date.now();
  const shown = new Map<string, string>();
  let planShown = false;
  const result = handle.result() as Promise<RolloutResult>;
  let ended = false;
  const end = result.catch(() => {}).finally(() => (ended = true));
  const look = async (): Promise<void> => {
    const { phase, wave, rows, signed } = await progressOf<RolloutProgress>(handle);
    if (quiet) return;
    if (phase === 'waiting for approval' && signed && !planShown) {
      planShown = true;
      clearProgress();
      printRollout(signed);
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
  const silence = new Silence();
  while (!ended) {
    await look().then(() => silence.broken(), () => silence.grows()); // prettier-ignore
    await Promise.race([end, sleep(pollMs)]);
  }
  clearProgress();
  try {
    return await result;
  } catch (error) {
    throw failureOf(error);
  }
}

/** The exit code of a rollout's end. */
export const codeOfRollout = ({ outcome }: RolloutResult): number => {
  if (outcome === 'confirmed' || outcome === 'healed') return exit.ok;
  return outcome === 'failed' || outcome === 'partly' ? exit.failed : exit.unchanged;
};
