import { Command, Option } from 'commander';
import { UserError, exit } from '../output.ts';

export const demo = new Command('demo')
  .description(
    'break a lab on this machine for real, find the cause, approve the fix, see it verified; then one that fails',
  )
  .option('-y, --yes', 'approve without asking')
  .addOption(new Option('--round <n>', 'only the first or the second round').choices(['1', '2']))
  .addHelpText(
    'after',
    `
It needs root and no cluster: everything happens in network namespaces that it makes and removes again.

Examples:
  undrop demo
  undrop demo --yes --round 1
`,
  )
  .action(async ({ yes, round }: { yes?: true; round?: string }) => {
    const [{ runDemo }, { LabError }] = await Promise.all([import('../demo.ts'), import('../../lab/lab.ts')]);
    try {
      process.exitCode = await runDemo(yes === true, round);
    } catch (error) {
      if (error instanceof LabError) throw new UserError(error.message, exit.failed);
      throw error;
    }
  });
