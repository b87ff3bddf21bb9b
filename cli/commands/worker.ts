import { Command } from 'commander';
import { taskQueueOf } from '../../domain/inventory.ts';
import { inventoryOption } from '../command.ts';
import { readInventory } from '../inventory.ts';
import { UserError, exit, paint, print, progress } from '../output.ts';

export const worker = new Command('worker')
  .description('work on the runs of this inventory until ^C; interrupted ones go on')
  .addOption(inventoryOption())
  .addHelpText(
    'after',
    `
With TEMPORAL_ADDRESS (or TEMPORAL_PROFILE, TEMPORAL_API_KEY ...) it works for that server, else for the embedded one.

Examples:
  undrop worker
  TEMPORAL_ADDRESS=temporal.example:7233 undrop worker -i prod.yaml
`,
  )
  .action(async ({ inventory: file }: { inventory?: string }) => {
    const inventory = await readInventory(file);
    const [{ openEngine }, { startWorker }] = await Promise.all([
      import('../../worker/engine.ts'),
      import('../../worker/worker.ts'),
    ]);
    const failed = (error: unknown): never => {
      throw new UserError(error instanceof Error ? error.message : String(error), exit.failed);
    };
    const engine = await openEngine(progress).catch(failed);
    const log = ({ level, message, meta }: { level: string; message: string; meta?: unknown }): void => {
      process.stderr.write(`${new Date().toISOString()} ${level} ${message} ${JSON.stringify(meta ?? {})}\n`);
    };
    const running = await startWorker(engine, inventory, log, { level: 'INFO' }).catch(failed);
    print(`working on ${paint.bold(taskQueueOf(inventory))} at ${engine.address}; ^C ends it`);
    const interrupted = new Promise<void>((resolve) => {
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
    });
    try {
      await Promise.race([interrupted, running.done]);
    } finally {
      await running.stop();
      await engine.close();
    }
  });
