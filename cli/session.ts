import { appendFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { hasWorker, withoutWorker } from '../client/workers.ts';
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

/** How long a worker somewhere else may take to show itself. */
const workerMs = 10_000;

/**
 * `reader`: answers queries of the embedded server's runs, and carries nothing on that would touch a node. `sender`: tells the
 * server something that the command's own worker carries out; an external server keeps it until a worker is there.
 */
export type Work = 'worker' | 'reader' | 'sender' | 'client';

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
  const session = { engine, taskQueue: taskQueueOf(inventory), inventory, close: async () => engine.close() };
  const asks = work === 'worker' || work === 'reader';
  if (asks && !engine.embedded) await requireWorker(engine, session.taskQueue);
  const opened = work !== 'client' && engine.embedded ? await withWorker(session, work !== 'reader') : session;
  clearProgress();
  return opened;
}

/** The same session, with a worker in this process until it is closed. @param acts whether it touches nodes */
export async function withWorker(session: Session, acts = true): Promise<Session> {
  const { startWorker } = await import('../worker/worker.ts');
  const worker = await startWorker(session.engine, session.inventory, logToFile(), { acts });
  return {
    ...session,
    close: async () => {
      await worker.stop();
      await session.close();
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

/** The SDK's warnings are for whoever looks for them, not for the user's screen. */
function logToFile(): (entry: { level: string; message: string; meta?: unknown }) => void {
  mkdirSync(dataFolder(), { recursive: true, mode: 0o700 });
  const path = join(dataFolder(), 'worker.log');
  return ({ level, message, meta }) =>
    appendFileSync(path, `${new Date().toISOString()} ${level} ${message} ${JSON.stringify(meta ?? {})}\n`, {
      mode: 0o600,
    });
}
