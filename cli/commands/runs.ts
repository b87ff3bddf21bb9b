import { Command, Option } from 'commander';
import { targetsText } from '../../domain/rollout.ts';
import { inventoryOption, jsonOption, withSession } from '../command.ts';
import { UserError, paint, print, printJson } from '../output.ts';

export const runs = new Command('runs')
  .description('list the runs and rollouts of this inventory, the newest first')
  .addOption(new Option('-n, --number <n>', 'how many').default('20'))
  .addOption(inventoryOption())
  .addOption(jsonOption())
  .addHelpText('after', '\nExample:\n  undrop runs -n 5\n')
  .action(async ({ number, inventory, json }: { number: string; inventory?: string; json?: true }) => {
    const most = Number(number);
    if (!Number.isInteger(most) || most < 1) throw new UserError('--number takes a whole number from 1');
    const list = async (session: import('../session.ts').Session): Promise<void> => {
      const [{ knownRuns }, { knownRollouts }] = await Promise.all([
        import('../../client/runs.ts'),
        import('../../client/rollouts.ts'),
      ]);
      const [ofOne, ofMany] = await Promise.all([knownRuns(session, most), knownRollouts(session, most)]);
      const known = [
        ...ofOne.map((one) => ({ kind: 'run' as const, ...one })),
        ...ofMany.map((one) => ({ kind: 'rollout' as const, ...one })),
      ]
        .toSorted((a, b) => b.started.getTime() - a.started.getTime())
        .slice(0, most);
      if (json) return printJson(known);
      if (known.length === 0) print("no runs of this inventory yet: undrop diagnose 'FROM->TO' starts one");
      for (const one of known) {
        const [name, what, state] =
          one.kind === 'run'
            ? [one.run, one.target, one.status === 'completed' ? one.conclusion || 'completed' : one.status]
            : [one.rollout, `rollout, ${targetsText(one.targets) || 'targets unknown'}`, one.state];
        const shown = one.status === 'completed' ? state : paint.yellow(state);
        print(`${name}  ${paint.dim(one.started.toISOString().slice(0, 16))}  ${what.padEnd(24)}  ${shown}`);
      }
    };
    await withSession(inventory, list, 'client');
  });
