import { Command } from 'commander';
import { inventoryOption, jsonOption, runHelp, withSession } from '../command.ts';
import { UserError, exit, paint, print, printJson, progress } from '../output.ts';

interface Options {
  inventory?: string;
  remedy?: string;
  place?: string;
  json?: true;
}

export const plan = new Command('plan')
  .description('plan the remedy for what a run proved, with live before-values; the plan then waits for approval')
  .argument('<run>', runHelp)
  .option('--remedy <id>', 'this remedy instead of the one that the proved cause names')
  .option('--place <name>', 'where to apply it; goes with --remedy')
  .addOption(inventoryOption())
  .addOption(jsonOption())
  .addHelpText(
    'after',
    `
Examples:
  undrop plan last
  undrop plan last --remedy disable-tx-checksum --place node-1
`,
  )
  .action(async (text: string, { inventory, remedy, place, json }: Options) => {
    if ((remedy === undefined) !== (place === undefined)) throw new UserError('--remedy and --place go together');
    await withSession(inventory, async (session) => {
      const [
        { diagnosisOf, findRun, remediationOf },
        { codeOf },
        { awaitPlan },
        { startRemediation },
        { whoami },
        render,
      ] = await Promise.all([
        import('../../client/runs.ts'),
        import('../following.ts'),
        import('../../client/plans.ts'),
        import('../../client/start.ts'),
        import('../identity.ts'),
        import('../render/plan.ts'),
      ]);
      const run = await findRun(session, text);
      const diagnosis = await diagnosisOf(session, run);
      const override = remedy !== undefined && place !== undefined ? { remedy, place } : undefined;
      const handle = await startRemediation(session, diagnosis, await whoami(session.inventory), override);
      const signed = await awaitPlan(handle, () => progress('  reading before-values …'));
      if (signed) {
        if (json) return printJson({ run, ...signed });
        render.printPlan(signed);
        return print(`\n${paint.dim('next')}  undrop approve ${run}, or undrop reject ${run} --reason '...'`);
      }
      const result = (await remediationOf(session, run))?.result;
      process.exitCode = result ? codeOf(result) : exit.failed;
      if (json) printJson({ run, ...result });
      else if (result) render.printRemediation(result);
    });
  });
