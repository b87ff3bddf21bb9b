import { appendFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type Inventory, taskQueueOf } from '../domain/inventory.ts';
import { dataFolder } from '../worker/paths.ts';
import type { Engine } from '../worker/engine.ts';
import { UserError, clearProgress, exit, progress } from './output.ts';

/** What a command works with: Temporal, and a worker where the server is the user's own. */
export interface Session {
  engine: Engine;
  taskQueue: string;
  inventory: Inventory;
  close(): Promise<void>;
}

/** A worker's poll comes back after a minute at the latest. */
const aliveSeconds = 75;
/** How long a worker somewhere else may take to show itself. */
const workerMs = 10_000;

/** `reader`: answers queries of the embedded server's runs, and carries nothing on that would touch a node. */
export type Work = 'worker' | 'reader' | 'client';

/**
 * Opens Temporal. With the embedded server this command is a worker too, so that its run, and runs that were interrupted,
 * go on; with an external one a worker must be there already.
 * @throws UserError when Temporal or a worker is missing, with what to do
 */
export async function openSession(inventory: Inventory, work: Work = 'worker'): Promise<Session> {
  progress('starting');
  const { openEngine } = await import('../worker/engine.ts');
  const engine = await openEngine(progress).catch((error: unknown) => {
    throw new UserError(error instanceof Error ? error.message : String(error), exit.failed);
  });
  const taskQueue = taskQueueOf(inventory);
  if (work !== 'client' && !engine.embedded) await requireWorker(engine, taskQueue);
  const worker =
    work !== 'client' && engine.embedded
      ? await (
          await import('../worker/worker.ts')
        ).startWorker(engine, inventory, logToFile(), { acts: work === 'worker' })
      : undefined;
  clearProgress();
  return {
    engine,
    taskQueue,
    inventory,
    close: async () => {
      await worker?.stop();
      await engine.close();
    },
  };
}

/** An Update or Query with no worker behind it would hang until its deadline. */
async function requireWorker(engine: Engine, taskQueue: string): Promise<void> {
  const until = Date.now() + workerMs;
  while (!(await hasWorker(engine, taskQueue))) {
    if (Date.now() > until) throw new UserError(withoutWorker(engine, taskQueue), exit.failed);
    progress('waiting for a worker');
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

/** Whether a worker asks this server for work of the queue. */
export async function hasWorker({ client, connection }: Engine, taskQueue: string): Promise<boolean> {
  const { pollers } = await client.workflowService.describeTaskQueue({
    namespace: connection.namespace,
    taskQueue: { name: taskQueue },
    taskQueueType: 1,
  });
  // Temporal lists a poller for minutes after its worker has died.
  return (pollers ?? []).some(({ lastAccessTime }) => {
    const seconds = Number(lastAccessTime?.seconds ?? 0);
    return Date.now() / 1000 - seconds < aliveSeconds;
  });
}

export const withoutWorker = ({ address }: Engine, taskQueue: string): string =>
  `no worker for this inventory at ${address} (queue ${taskQueue}): start one with \`undrop worker\``;

/** The SDK's warnings are for whoever looks for them, not for the user's screen. */
function logToFile(): (entry: { level: string; message: string; meta?: unknown }) => void {
  mkdirSync(dataFolder(), { recursive: true, mode: 0o700 });
  const path = join(dataFolder(), 'worker.log');
  return ({ level, message, meta }) =>
    appendFileSync(path, `${new Date().toISOString()} ${level} ${message} ${JSON.stringify(meta ?? {})}\n`, {
      mode: 0o600,
    });
}
