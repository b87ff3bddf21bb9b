import type { WorkflowHandle } from '@temporalio/client';
import type { DiagnoseProgress, DiagnoseResult } from '../domain/runs.ts';
import { followed } from './following.ts';
import { clearProgress, progress } from './output.ts';
import { printStep, printSurvey } from './render/conclusion.ts';

const pollMs = 150;

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
  const done = await followed<DiagnoseResult>(handle, async () => show(await handle.query<DiagnoseProgress>('progress')), pollMs); // prettier-ignore
  show({ phase: 'done', steps: done.steps, path: done.path, ...(done.survey && { survey: done.survey }) });
  return done;
}
