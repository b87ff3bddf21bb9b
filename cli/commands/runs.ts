import { Command, Option } from 'commander';
import { inventoryOption, jsonOption, withSession } from '../command.ts';
import { UserError, paint, print, printJson } from '../output.ts';

export const runs = new Command('runs')
  .description('list the runs of this inventory, the newest first')
  .addOption(new Option('-n, --number <n>', 'how many').default('20'))
  .addOption(inventoryOption())
  .addOption(jsonOption())
  .addHelpText('after', '\nExample:\n  undrop runs -n 5\n')
  .action(async ({ number, inventory, json }: { number: string; inventory?: string; json?: true }) => {
    const most = Number(number);
    if (!Number.isInteger(most) || most < 1) throw new UserError('--number takes a whole number from 1');
    const list = async (session: import('../session.ts').Session): Promise<void> => {
      const { knownRuns } = await import('../../client/runs.ts');
      const known = await knownRuns(session, most);
      if (json) return printJson(known);
      if (known.length === 0) print("no runs of this inventory yet: undrop diagnose 'FROM->TO' starts one");
      for (const { run, target, status, conclusion, started } of known) {
        const state = status === 'completed' ? conclusion || 'completed' : paint.yellow(status);
        print(`${run}  ${paint.dim(started.toISOString().slice(0, 16))}  ${target.padEnd(24)}  ${state}`);
      }
    };
    await withSession(inventory, list, 'client');
  });
