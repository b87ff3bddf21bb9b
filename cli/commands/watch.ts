import { Command } from 'commander';
import { inventoryOption, runHelp, withSession } from '../command.ts';
import { exit, paint, print } from '../output.ts';

export const watch = new Command('watch')
  .description('follow a run to its end, also one that was interrupted: it goes on here')
  .argument('<run>', `${runHelp}, or of a rollout`)
  .addOption(inventoryOption())
  .addHelpText('after', '\n^C stops watching; the run itself is not cancelled.\n\nExample:\n  undrop watch last\n')
  .action(async (text: string, { inventory }: { inventory?: string }) => {
    process.once('SIGINT', () => process.exit(exit.interrupted));
    await withSession(inventory, async (session) => {
      const [
        { conclusionOf, remediationOf },
        { findRunOrRollout },
        { codeOf },
        { followDiagnosis },
        remediating,
        render,
        { printDiagnosis },
      ] = await Promise.all([
        import('../../client/runs.ts'),
        import('../../client/rollouts.ts'),
        import('../following.ts'),
        import('../diagnosing.ts'),
        import('../remediating.ts'),
        import('../render/plan.ts'),
        import('../render/diagnosis.ts'),
      ]);
      const { name: run, rollout } = await findRunOrRollout(session, text);
      if (rollout) {
        const [{ followRollout }, { printRolloutEnd }] = await Promise.all([
          import('../rolling.ts'),
          import('../render/rollout.ts'),
        ]);
        const done = await followRollout(rollout, false);
        printRolloutEnd(done);
        process.exitCode = codeOf(done);
        return;
      }
      const { client } = session.engine;
      const diagnosis = await followDiagnosis(client.workflow.getHandle(`diagnose/${run}`), false);
      print(`${paint.bold(diagnosis.path.text)}  ${paint.dim(`run ${run}`)}`);
      printDiagnosis(diagnosis, await conclusionOf(diagnosis));
      process.exitCode = diagnosis.kind === 'no-loss' ? exit.ok : exit.loss;
      if (!(await remediationOf(session, run))) return;
      const handle = client.workflow.getHandle(`remediate/${run}`);
      const result = await remediating.followRemediation(session, handle, false);
      render.printRemediation(result);
      process.exitCode = codeOf(result);
    });
  });
