import { readFile } from 'node:fs/promises';
import { setPriority } from 'node:os';
import { Command } from 'commander';
import { taskQueueOf } from '../../domain/inventory.ts';
import { FileError } from '../../domain/yaml.ts';
import { inventoryOption } from '../command.ts';
import { readInventory } from '../inventory.ts';
import { UserError, exit, paint, print, progress } from '../output.ts';

interface Options {
  inventory?: string;
  config: string;
  logLevel: string;
}

const serving = (name: string): Command =>
  new Command(name)
    .option('-c, --config <file>', 'sources, people and roles', 'gateway.yaml')
    .option('--log-level <level>', 'debug, info, warn or error', 'info')
    .addOption(inventoryOption());

export const gateway = serving('gateway')
  .description('take alerts of incident tooling, show runs, rollouts and plans, and let people decide, until ^C')
  .addHelpText(
    'after',
    `
Workers run apart, with \`undrop worker\`. Deliveries and sign-ins are kept in PostgreSQL where DATABASE_URL names one,
else in files below the data folder.

Examples:
  undrop gateway -c gateway.yaml
  TEMPORAL_ADDRESS=temporal.example:7233 DATABASE_URL=postgres://db.example/undrop undrop gateway
`,
  )
  .action(async (options: Options) => run(options, false));

export const dev = serving('dev')
  .description('everything on this machine: the engine, a worker and the gateway, until ^C')
  .addHelpText('after', '\nExample:\n  undrop dev -c gateway.yaml\n')
  .action(async (options: Options) => run(options, true));

async function run({ inventory: file, config: path, logLevel }: Options, withWorker: boolean): Promise<void> {
  const inventory = await readInventory(file);
  const [{ openEngine }, { evidenceStore }, { parseConfig }, { serve }, { loadRunbook }, { dataFolder }] =
    await Promise.all([
      import('../../worker/engine.ts'),
      import('../../worker/evidence.ts'),
      import('../../gateway/config.ts'),
      import('../../gateway/serve.ts'),
      import('../../runbooks/load.ts'),
      import('../../worker/paths.ts'),
    ]); // prettier-ignore
  const config = parsed(parseConfig, await text(path), path);
  // A gateway that comes up while Temporal is away takes alerts all the same.
  const engine = await openEngine(progress, !withWorker).catch((error: unknown) => {
    throw new UserError(error instanceof Error ? error.message : String(error), exit.failed);
  });
  const taskQueue = taskQueueOf(inventory);
  const log = ({ level, message, meta }: { level: string; message: string; meta?: unknown }): void => {
    process.stderr.write(`${new Date().toISOString()} ${level} ${message} ${JSON.stringify(meta ?? {})}\n`);
  };
  const worker = withWorker
    ? await (await import('../../worker/worker.ts')).startWorker(engine, inventory, log, { level: 'WARN' })
    : undefined;
  const interrupted = new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
  });
  let served: Awaited<ReturnType<typeof serve>> | undefined;
  try {
    served = await serve(config, {
      reach: { engine, taskQueue, inventory },
      runbook: loadRunbook(),
      store: evidenceStore(),
      folder: dataFolder(),
      databaseUrl: process.env['DATABASE_URL'],
      level: logLevel,
    }).catch((error: unknown) => {
      throw new UserError(
        `the gateway cannot start: ${error instanceof Error ? error.message : String(error)}`,
        exit.failed,
      );
    });
    if (!withWorker) preferred();
    print(`listening at ${paint.bold(served.address)} for ${paint.bold(inventory.name)}; ^C ends it`);
    const trusted = inventory.approval.gateways.some(
      ({ name, key }) => name === config.name && sameKey(key, served?.publicKey ?? ''),
    );
    if (!trusted)
      print(
        `decisions made here do not count yet: add to the inventory's approval.gateways\n  - { name: ${config.name}, key: ${served.publicKey} }`,
      );
    await Promise.race([interrupted, worker?.done ?? interrupted]);
  } finally {
    await served?.close();
    await worker?.stop();
    await engine.close();
  }
}

/** Senders wait for answers, and nobody for a diagnosis on the same machine; where the system does not allow it, they are equals. */
function preferred(): void {
  try {
    setPriority(-5);
  } catch {
    // only root, or who has CAP_SYS_NICE, may
  }
}

/** The key itself; a comment may follow it. */
const sameKey = (one: string, other: string): boolean =>
  one.split(' ').slice(0, 2).join(' ') === other.split(' ').slice(0, 2).join(' ');

async function text(path: string): Promise<string> {
  return readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new UserError(
      error.code === 'ENOENT'
        ? `there is no ${path}; docs/gateway.md says how to write one`
        : `${path}: ${error.message}`,
    );
  });
}

function parsed<T>(parse: (text: string, file: string) => T, yaml: string, file: string): T {
  try {
    return parse(yaml, file);
  } catch (error) {
    if (error instanceof FileError) throw new UserError(error.message);
    throw error;
  }
}
