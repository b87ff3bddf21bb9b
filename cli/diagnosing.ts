import { setTimeout as sleep } from 'node:timers/promises';
import type { WorkflowHandle } from '@temporalio/client';
import { failureOf } from '../client/errors.ts';
import type { DiagnoseProgress, DiagnoseResult } from '../domain/runs.ts';
import { clearProgress, progress } from './output.ts';
import { printStep, printSurvey } from './render/conclusion.ts';

const pollMs = 150;
const silentMs = 20_000;

/** Shows a diagnosis as it goes, to its end. @throws UserError with the reason when it failed or was cancelled */
export async function followDiagnosis(handle: WorkflowHandle, quiet: boolean): Promise<DiagnoseResult> {
  let shown = 0;
  let surveyed = false;
  const show = ({ steps, current, phase, survey, path }: DiagnoseProgress): void => {
    if (quiet) return;
    if (survey && path && !surveyed) {
      clearProgress();
      printSurvey(survey, path.text);
      surveyed = true;
    }
    if (steps.length > shown) clearProgress();
    for (; shown < steps.length; shown++) {
      const step = steps[shown];
      if (step) printStep(step);
    }
    if (phase !== 'done') progress(`  ${current ?? phase} …`);
  };
  const result = handle.result() as Promise<DiagnoseResult>;
  let ended = false;
  const end = result.catch(() => {}).finally(() => (ended = true));
  const silence = new Silence();
  const look = async (): Promise<void> => {
    show(await handle.query<DiagnoseProgress>('progress'));
    silence.broken();
  };
  while (!ended) {
    await Promise.race([end, sleep(pollMs)]);
    if (!ended) await look().catch(() => silence.grows());
  }
  try {
    const done = await result;
    show({ phase: 'done', steps: done.steps, path: done.path, ...(done.survey && { survey: done.survey }) });
    return done;
  } catch (error) {
    throw failureOf(error);
  } finally {
    clearProgress();
  }
}

/** Says once when nobody answers for a while: a run without a worker stands still for ever, and looks like a slow one. */
export class Silence {
  private since = Date.now();
  private told = false;

  broken(): void {
    this.since = Date.now();
    this.told = false;
  }

  grows(): void {
    if (this.told || Date.now() - this.since < silentMs) return;
    this.told = true;
    clearProgress();
    process.stderr.write(
      'no worker has answered for 20 s: start one with `undrop worker`; ^C leaves the run as it is\n',
    );
  }
}
