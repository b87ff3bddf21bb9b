import { Command } from 'commander';
import { isGone } from '../../domain/errors.ts';
import { inventoryOption, runHelp, withSession } from '../command.ts';
import { UserError, exit, print } from '../output.ts';

export const cancel = new Command('cancel')
  .description('cancel a run: what is in progress ends, and a change that is not confirmed is put back')
  .argument('<run>', `${runHelp}, or of a rollout`)
  .addOption(inventoryOption())
  .addHelpText('after', '\nExample:\n  undrop cancel last\n')
  .action(async (text: string, { inventory }: { inventory?: string }) => {
    await withSession(inventory, async (session) => {
      const [{ findRunOrRollout }, { endOf }] = await Promise.all([
        import('../../client/rollouts.ts'),
        import('../../client/plans.ts'),
      ]);
      const { name: run, rollout } = await findRunOrRollout(session, text);
      const { client } = session.engine;
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
        print(`${id}: ${await endOf(handle)}`);
        cancelled++;
      }
      if (cancelled === 0) throw new UserError(`nothing of ${run} is in progress`, exit.unchanged);
    });
  });
