import { Command } from 'commander';
import { innermost } from '../../domain/errors.ts';
import type { Inventory } from '../../domain/inventory.ts';
import type { Stopped } from '../../domain/stop.ts';
import { inventoryOption, jsonOption } from '../command.ts';
import type { Remains } from '../held.ts';
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
Runs and audits are cancelled, schedules paused, changes that are not confirmed reverted, with the values read back.
Incidents wait. Changes that were confirmed stay; \`undrop rollback\` undoes them. It holds until \`undrop resume\`.
Where the engine cannot be reached, nothing is stopped; where no worker is there, nothing new begins, but nobody reverts.
In both cases the nodes' own timers put back what is not confirmed: the command asks each node, and says what remains.

Example:
  undrop stop --reason 'loss got worse since 02:10'
`,
  )
  .action(async ({ inventory: file, reason = '', json }: Options) => {
    const inventory = await readInventory(file);
    const [{ openSession, withWorker }, { stopEverything }, { hasWorker, withoutWorker }, { heldOnNodes }, { whoami }] =
      await Promise.all([
        import('../session.ts'),
        import('../../client/stop.ts'),
        import('../../client/workers.ts'),
        import('../held.ts'),
        import('../identity.ts'),
      ]);
    const by = await whoami(inventory);
    const opened = await openSession(inventory, 'client').catch((error: unknown) => error);
    if (opened instanceof Error) return notStopped(inventory, opened, json);
    let session = opened as Awaited<ReturnType<typeof openSession>>;
    const { engine, taskQueue } = session;
    let there = false;
    try {
      const done = await stopEverything(session, { by, reason, at: Date.now() }, progress, async () => {
        // Interrupted runs go on as soon as there is a worker: not before the switch is set and they are cancelled.
        if (engine.embedded) session = await withWorker(session);
        there = engine.embedded || (await hasWorker(engine, taskQueue));
        return there;
      }).catch((error: unknown) => new Error(innermost(error)));
      clearProgress();
      if (done instanceof Error) return await notStopped(inventory, done, json);
      const unsettled = done.some(({ outcome }) => ['open', 'failed', 'unknown'].includes(outcome));
      const remains = unsettled || !there ? await heldOnNodes(inventory) : { held: [], unseen: [] };
      if (json) printJson({ stopped: true, worker: there, done, ...remains });
      else {
        done.forEach(show);
        print(`${paint.bold('stopped')}  nothing new begins until \`undrop resume\``);
        if (!there)
          print(
            `${withoutWorker(engine, taskQueue)}. Until then what runs does not end, and only nodes' own timers put values back`,
          );
        if (unsettled || !there) showRemains(remains);
      }
      if (done.some(isBad) || remains.held.length + remains.unseen.length > 0) process.exitCode = exit.failed;
    } finally {
      await session.close();
    }
  });

export const resume = new Command('resume')
  .description('let things go on after a stop')
  .addOption(inventoryOption())
  .addHelpText(
    'after',
    `
With a Temporal server of your own and no worker the stop ends when one is there: the exit code is 3 then.

Example:
  undrop resume
`,
  )
  .action(async ({ inventory: file }: Options) => {
    const inventory = await readInventory(file);
    const [{ openSession }, { currentStop, resumeEverything }, { hasWorker, withoutWorker }, { whoami }] =
      await Promise.all([
        import('../session.ts'),
        import('../../client/stop.ts'),
        import('../../client/workers.ts'),
        import('../identity.ts'),
      ]);
    const session = await openSession(inventory, 'sender');
    const { engine, taskQueue } = session;
    try {
      const was = await resumeEverything(session, await whoami(inventory));
      if (!was) return print('nothing was stopped');
      if (!(await currentStop(session)))
        return print('new runs can begin again; schedules that the stop had paused go on');
      const there = engine.embedded || (await hasWorker(engine, taskQueue));
      print(
        'the stop is to end, and schedules that it had paused go on; a worker ends it, and new runs begin after that',
      );
      if (!there) print(withoutWorker(engine, taskQueue));
      process.exitCode = exit.failed;
    } finally {
      await session.close();
    }
  });

const isBad = ({ outcome }: Stopped): boolean => ['open', 'failed', 'stuck', 'conflict', 'unknown'].includes(outcome);

function show(one: Stopped): void {
  const { id, outcome, says, proof } = one;
  const colour = isBad(one) ? paint.red : paint.green;
  print(`  ${colour(outcome.padEnd(10))} ${id}${says ? paint.dim(`  ${says}`) : ''}`);
  for (const line of proof) print(`             ${paint.dim(`read back: ${line.slice(0, 120)}`)}`);
}

/** The engine did not take the stop: what is not confirmed reverts by itself. */
async function notStopped(inventory: Inventory, why: Error, json?: true): Promise<void> {
  clearProgress();
  const { heldOnNodes } = await import('../held.ts');
  const remains = await heldOnNodes(inventory);
  process.exitCode = exit.failed;
  if (json) return printJson({ stopped: false, why: why.message, ...remains });
  print(`${paint.red('not stopped')}  ${why.message}`);
  print('New runs begin as soon as the engine is back, and now where others reach it: stop again until it is taken.');
  showRemains(remains);
  throw new UserError('the engine did not take the stop', exit.failed);
}

/** What nodes hold unconfirmed, and until when. */
function showRemains({ held, unseen }: Remains): void {
  for (const { node, id, deadline, overdue } of held)
    print(
      overdue
        ? `  ${node}: ${id} should have reverted by itself at ${deadline} and did not: look at /run/undrop/${id} there`
        : `  ${node}: ${id} is not confirmed and reverts by itself at ${deadline}`,
    );
  // Hundreds of nodes may have one reason.
  for (const [why, rows] of Map.groupBy(unseen, (one) => one.why))
    print(
      `  ${rows.map(({ node }) => node).join(', ')}: not looked at (${why}); a node's own timer reverts what it holds`,
    );
  if (held.length === 0 && unseen.length === 0) print('  no node holds an unconfirmed change');
}
