import { Worker } from '@temporalio/worker';
import { workflowBundle } from '../../worker/worker.ts';

/** Replays histories against today's workflows; returns what went wrong with each, one line a history. */
export async function replayed(
  histories: { workflowId: string; history: unknown }[],
  codePath?: string,
): Promise<string[]> {
  const workflowBundle_ = { codePath: codePath ?? (await workflowBundle()) };
  const wrong: string[] = [];
  for await (const { workflowId, error } of Worker.runReplayHistories({ workflowBundle: workflowBundle_ }, histories))
    if (error) wrong.push(`${workflowId}: ${error.message}`);
  return wrong;
}
