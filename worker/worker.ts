import { createHash } from 'node:crypto';
import { mkdir, readFile, readdir, rename, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import {
  DefaultLogger,
  type LogEntry,
  type LogLevel,
  NativeConnection,
  Runtime,
  TransportError,
  Worker,
  bundleWorkflowCode,
} from '@temporalio/worker';
import { Observers } from '../activities/deps.ts';
import { createActivities } from '../activities/index.ts';
import { type Inventory, taskQueueOf } from '../domain/inventory.ts';
import { ShellPool } from '../nodes/shells/pool.ts';
import { loadChecks, loadRunbook } from '../runbooks/load.ts';
import type { Engine } from './engine.ts';
import { ledgerOf } from './ledger.ts';
import { keepWarm } from './warm.ts';
import { evidenceStore } from './evidence.ts';
import { auditsFolder, cacheFolder, runsFolder } from './paths.ts';
import { retain } from './retention.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

export interface RunningWorker {
  /** Lets activities in progress end, then stops. */
  stop(): Promise<void>;
  /** Rejects when the worker fails. */
  done: Promise<void>;
}

/**
 * Starts a worker in this process.
 * @param log where the SDK's and activities' log lines go
 * @param acts whether it does activities; without, it only moves workflows on and answers queries
 * @throws Error that names the server when it stays away
 */
export async function startWorker(
  engine: Engine,
  inventory: Inventory,
  log: (entry: LogEntry) => void,
  { level = 'WARN', acts = true }: { level?: LogLevel; acts?: boolean } = {},
): Promise<RunningWorker> {
  installRuntime(log, level);
  const shells = new ShellPool(inventory);
  const observers = new Observers(shells);
  const runbook = loadRunbook();
  const connection = await connected(engine);
  const worker = await Worker.create({
    connection,
    namespace: engine.connection.namespace,
    taskQueue: taskQueueOf(inventory),
    workflowBundle: { codePath: await workflowBundle() },
    activities: acts
      ? createActivities({
          inventory,
          runbook,
          checks: loadChecks(runbook),
          shells,
          store: evidenceStore(),
          runs: runsFolder(),
          audits: auditsFolder(),
          observers,
          ledger: ledgerOf(engine.client, taskQueueOf(inventory), inventory.name),
        })
      : {},
    maxHeartbeatThrottleInterval: '300ms',
    stickyQueueScheduleToStartTimeout: '1s',
    shutdownGraceTime: '5s',
    shutdownForceTime: '10s',
  });
  const { logger } = Runtime.instance();
  const beside = acts
    ? [
        keepWarm(inventory, shells, (message, meta) => logger.warn(message, meta)),
        retain(engine.client, inventory, (level, message, meta) => logger[level](message, meta)),
      ]
    : [];
  const work = async (): Promise<void> => {
    try {
      await worker.run();
    } finally {
      for (const end of beside) end();
      observers.closeAll();
      await shells.close();
      await connection.close();
    }
  };
  const done = work();
  return {
    done,
    stop: async () => {
      if (worker.getState() === 'RUNNING') worker.shutdown();
      await done;
    },
  };
}

const patienceMs = 30_000;

/** A server that went away since the engine was opened may be on its way back: whoever holds an embedded one starts it again. */
async function connected({ address, connection: { options } }: Engine): Promise<NativeConnection> {
  const until = Date.now() + patienceMs;
  for (;;) {
    try {
      return await NativeConnection.connect(options);
    } catch (error) {
      if (!(error instanceof TransportError)) throw error;
      if (Date.now() > until)
        throw new Error(`the Temporal server at ${address} cannot be reached: ${error.message}`, { cause: error });
      await sleep(200);
    }
  }
}

let installed = false;

/** The SDK's native part is one per process: the first worker's log is everybody's. */
function installRuntime(log: (entry: LogEntry) => void, level: LogLevel): void {
  if (installed) return;
  installed = true;
  Runtime.install({
    logger: new DefaultLogger(level, log),
    // The command decides what ^C means; the SDK would stop the worker on its own.
    shutdownSignals: [],
    telemetryOptions: { logging: { filter: { core: 'WARN', other: 'WARN' }, forward: {} } },
  });
}

/** The workflows' bundle, made once for the same sources: bundling costs a second that every command would wait for. */
export async function workflowBundle(): Promise<string> {
  const hash = createHash('sha256').update(await readFile(join(root, 'package.json')));
  for (const folder of ['workflows', 'domain']) {
    const entries = await readdir(join(root, folder), { withFileTypes: true, recursive: true });
    const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
    for (const file of files.toSorted()) hash.update(`${relative(root, file)}\0`).update(await readFile(file));
  }
  const path = join(cacheFolder(), `workflows-${hash.digest('hex').slice(0, 16)}.js`);
  const known = await readFile(path).catch(() => undefined);
  if (known) return path;
  const { code } = await bundleWorkflowCode({
    workflowsPath: join(root, 'workflows', 'index.ts'),
    logger: new DefaultLogger('ERROR'),
  });
  await mkdir(cacheFolder(), { recursive: true });
  await writeFile(`${path}.${process.pid}`, code);
  await rename(`${path}.${process.pid}`, path);
  return path;
}
