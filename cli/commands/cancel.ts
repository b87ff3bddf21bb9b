import { Command } from 'commander';
import { isGone } from '../../domain/errors.ts';
import { inventoryOption, runHelp, withSession } from '../command.ts';
import { UserError, exit, print } from '../output.ts';
import type { Session } from '../session.ts';

export const cancel = new Command('cancel')
  .description('cancel a run: what is in progress ends, and a change that is not confirmed is put back')
  .argument('<run>', `${runHelp}, or of a rollout`)
  .addOption(inventoryOption())
  .addHelpText(
    'after',
    `
With a Temporal server of your own and no worker the run ends when one is there: the exit code is 3 then. Until then only
the nodes' own timers put back what is not confirmed.

Example:
  undrop cancel last
`,
  )
  .action(async (text: string, { inventory: file }: { inventory?: string }) => {
    const cancelRun = async (session: Session): Promise<void> => {
      const [{ findRunOrRollout }, { endOf }, { hasWorker, withoutWorker }] = await Promise.all([
        import('../../client/rollouts.ts'),
        import('../../client/plans.ts'),
        import('../../client/workers.ts'),
      ]);
      const { engine, taskQueue } = session;
      const { name: run, rollout } = await findRunOrRollout(session, text);
      const { client } = engine;
      const there = engine.embedded || (await hasWorker(engine, taskQueue));
      let cancelled = 0;
      for (const id of rollout ? [rollout.workflowId] : [`diagnose/${run}`, `remediate/${run}`]) {
        const handle = client.workflow.getHandle(id);
        const running = await handle.describe().then(
          ({ status }) => status.name === 'RUNNING',
          (error: unknown) => {
            if (isGone(error)) return false;
            throw error;
          },
        );
        if (!running) continue;
        await handle.cancel();
        print(`${id}: ${there ? await endOf(handle) : 'cancelled; it ends when a worker is there'}`);
        // A worker that has just died counts as there for a minute.
        if (there && (await handle.describe()).status.name === 'RUNNING') process.exitCode = exit.failed;
        cancelled++;
      }
      if (cancelled === 0) throw new UserError(`nothing of ${run} is in progress`, exit.unchanged);
      if (there) return;
      print(`${withoutWorker(engine, taskQueue)}. Until then only nodes' own timers put back what is not confirmed`);
      process.exitCode = exit.failed;
    };
    await withSession(file, cancelRun, 'sender');
  });
