import { randomBytes } from 'node:crypto';
import type { WorkflowHandle } from '@temporalio/client';
import { isTaken } from '../domain/errors.ts';
import type { Inventory } from '../domain/inventory.ts';
import { type DiagnoseInput, type DiagnoseResult, type RemediateInput, runNamed } from '../domain/runs.ts';
import type { Engine } from '../worker/engine.ts';
import { UserError } from './errors.ts';

/** A Temporal server, and the queue on which workers with this inventory listen. */
export interface Reach {
  engine: Engine;
  taskQueue: string;
  inventory: Inventory;
}

/** A task in the hands of a killed worker is given to another one after this time (Temporal's default: 10 s). */
export const taskTimeout = '4s';

/** The name of a run that begins now. */
export const newRun = (): string => runNamed(new Date(), randomBytes(3).toString('hex'));

/** Starts a diagnosis; it goes on whatever becomes of this command. */
export async function startDiagnosis(
  { engine, taskQueue, inventory }: Reach,
  run: string,
  input: Omit<DiagnoseInput, 'visible' | 'inventory'>,
): Promise<WorkflowHandle> {
  return engine.client.workflow.start('diagnose', {
    workflowId: `diagnose/${run}`,
    taskQueue,
    args: [{ ...input, inventory: inventory.name, visible: engine.visible }],
    memo: { target: input.target },
    workflowTaskTimeout: taskTimeout,
    staticSummary: `why does ${input.target} lose datagrams?`,
  });
}

/** Starts the plan for a diagnosis; it waits for people whatever becomes of this command. */
export async function startRemediation(
  { engine, taskQueue, inventory }: Reach,
  { run, path, evidence, runbook, conclusion }: DiagnoseResult,
  requester: string,
  override?: RemediateInput['override'],
): Promise<WorkflowHandle> {
  const diagnosis = { run, path, evidence, runbook, conclusion };
  const input: RemediateInput = {
    inventory: inventory.name,
    requester,
    diagnosis,
    visible: engine.visible,
    ...(override && { override }),
  };
  try {
    return await engine.client.workflow.start('remediate', {
      workflowId: `remediate/${run}`,
      taskQueue,
      args: [input],
      workflowTaskTimeout: taskTimeout,
      staticSummary: `plan for ${path.text}`,
    });
  } catch (error) {
    if (isTaken(error)) throw new UserError(`run ${run} has a plan in progress: \`undrop show ${run}\``);
    throw error;
  }
}
