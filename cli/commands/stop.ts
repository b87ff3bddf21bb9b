import { Command } from 'commander';
import type { Inventory } from '../../domain/inventory.ts';
import type { Stopped } from '../../domain/stop.ts';
import { inventoryOption, jsonOption } from '../command.ts';
import { readInventory } from '../inventory.ts';
import { UserError, clearProgress, exit, paint, print, printJson, progress } from '../output.ts';

interface Options {
  inventory?: string;
  reason?: string;
  json?: true;
}

export const stop = new Command('stop')
  .description('stop everything of this inventory: nothing new begins, and what is not confirmed is put back')
  .requiredOption('--reason <text>', 'why, for everybody who wonders')
  .addOption(inventoryOption())
  .addOption(jsonOption())
  .addHelpText(
    'after',
    `
Runs, incidents and audits are cancelled, schedules paused, changes that are not confirmed reverted, with the values read
back. Changes that were confirmed stay; \`undrop rollback\` undoes them. It holds until \`undrop resume\`.
Where the engine cannot be reached, the nodes' own timers do it: the command asks each node, and says what remains.

Example:
  undrop stop --reason 'loss got worse since 02:10'
`,
  )
  .action(async ({ inventory: file, reason = '', json }: Options) => {
    const inventory = await readInventory(file);
    const [{ openSession }, { stopEverything }, { whoami }] = await Promise.all([
      import('../session.ts'),
      import('../../client/stop.ts'),
      import('../identity.ts'),
    ]);
    const opened = await openSession(inventory, 'worker').catch((error: unknown) => error);
    if (opened instanceof Error) return withoutEngine(inventory, opened, json);
    const session = opened as Awaited<ReturnType<typeof openSession>>;
    try {
      const by = await whoami(inventory);
      const done = await stopEverything(session, { by, reason, at: Date.now() }, progress);
      clearProgress();
      if (json) printJson({ stopped: true, done });
      else {
        done.forEach(show);
        print(`${paint.bold('stopped')}  nothing new begins until \`undrop resume\``);
      }
      if (done.some(({ outcome }) => ['open', 'stuck', 'conflict', 'unknown'].includes(outcome)))
        process.exitCode = exit.failed;
    } finally {
      await session.close();
    }
  });

export const resume = new Command('resume')
  .description('let things go on after a stop')
  .addOption(inventoryOption())
  .action(async ({ inventory: file }: Options) => {
    const inventory = await readInventory(file);
    const [{ openSession }, { resumeEverything }, { whoami }] = await Promise.all([
      import('../session.ts'),
      import('../../client/stop.ts'),
      import('../identity.ts'),
    ]);
    const session = await openSession(inventory);
    try {
      const was = await resumeEverything(session, await whoami(inventory));
      print(was ? 'new runs can begin again; schedules that the stop had paused go on' : 'nothing was stopped');
    } finally {
      await session.close();
    }
  });

function show({ id, outcome, says, proof }: Stopped): void {
  const colour = ['open', 'stuck', 'conflict', 'unknown'].includes(outcome) ? paint.red : paint.green;
  print(`  ${colour(outcome.padEnd(10))} ${id}${says ? paint.dim(`  ${says}`) : ''}`);
  for (const line of proof) print(`             ${paint.dim(`read back: ${line.slice(0, 120)}`)}`);
}

/** The engine is away: what is not confirmed reverts by itself. Each node is asked what it still holds, and until when. */
async function withoutEngine(inventory: Inventory, why: Error, json?: true): Promise<void> {
  clearProgress();
  const { heldOnNodes } = await import('../held.ts');
  const { held, unseen } = await heldOnNodes(inventory);
  process.exitCode = exit.failed;
  if (json) return printJson({ stopped: false, why: why.message, held, unseen });
  print(`${paint.red('not stopped')}  ${why.message}`);
  print('New runs may begin as soon as the engine is back: stop again then. Until then nobody can start any.');
  for (const { node, id, deadline, overdue } of held)
    print(
      overdue
        ? `  ${node}: ${id} should have reverted by itself at ${deadline} and did not: look at /run/undrop/${id} there`
        : `  ${node}: ${id} is not confirmed and reverts by itself at ${deadline}`,
    );
  for (const { node, why: reason } of unseen)
    print(`  ${node}: cannot be asked (${reason}); its own timer reverts what it holds`);
  if (held.length === 0 && unseen.length === 0) print('  no node holds an unconfirmed change');
  throw new UserError('the engine did not take the stop', exit.failed);
}
