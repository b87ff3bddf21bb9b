import { Command } from 'commander';
import {
  inventoryOption,
  jsonOption,
  watchedWindowSeconds,
  windowMsOf,
  windowOption,
  withSession,
} from '../command.ts';
import { readInventory } from '../inventory.ts';
import { UserError, exit, paint, print, printJson } from '../output.ts';

interface Options {
  inventory?: string;
  window: string;
  passive?: true;
  propose?: true;
  all?: true;
  json?: true;
}

export const diagnose = new Command('diagnose')
  .description('find out whether and why a target loses UDP datagrams')
  .argument(
    '<target>',
    "in a cluster service/NAMESPACE/NAME or FROM->TO with pod/NAMESPACE/NAME and node/NAME; else names of the inventory, such as 'web-1->dns'",
  )
  .addOption(inventoryOption())
  .addOption(windowOption())
  .option(
    '--passive',
    `send nothing and make nothing: watch the target's own traffic at both ends (for --window, default ${watchedWindowSeconds} s)`,
  )
  .option('-p, --propose', 'make a plan for what is proved, which then waits for approval')
  .option('-a, --all', 'list every cause that was ruled out or not tested')
  .addOption(jsonOption())
  .addHelpText(
    'after',
    `
Examples:
  undrop diagnose service/shop/dns
  undrop diagnose 'pod/shop/web-1->service/shop/dns:53'
  undrop diagnose 'node/n1->node/n2' --window 5
  undrop diagnose 'web-1->dns'
  undrop diagnose service/shop/dns --passive --window 30
  undrop diagnose 'node-1->node-2' --propose
  undrop diagnose 'web-1->web-2' --json | jq .conclusion.says
`,
  )
  .action(
    async (target: string, { inventory: file, window, passive, propose, all, json }: Options, command: Command) => {
      const [{ TargetError, resolveTarget }, { parseTarget }] = await Promise.all([
        import('../../domain/target.ts'),
        import('../../domain/cluster-target.ts'),
      ]);
      if (passive && propose)
        throw new UserError('--propose needs probes, which measure a change before and after; --passive sends none');
      const given = command.getOptionValueSource('window') !== 'default';
      const windowMs = windowMsOf(passive && !given ? watchedWindowSeconds : window);
      try {
        const inventory = await readInventory(file);
        if (inventory.kubernetes) parseTarget(target);
        else resolveTarget(inventory, target);
      } catch (error) {
        if (error instanceof TargetError) throw new UserError(error.message);
        throw error;
      }
      await withSession(file, async (session) => {
        const [{ followDiagnosis }, { newRun, startDiagnosis }, { interruptible }, { whoami }, { conclusionOf }] =
          await Promise.all([
            import('../diagnosing.ts'),
            import('../../client/start.ts'),
            import('../interrupt.ts'),
            import('../identity.ts'),
            import('../../client/runs.ts'),
          ]);
        const run = newRun();
        if (!json) print(`${paint.bold(target)}  ${paint.dim(`run ${run}${passive ? ', which sends nothing' : ''}`)}`);
        const requester = await whoami(session.inventory);
        const handle = await startDiagnosis(session, run, {
          target,
          requester,
          windowMs,
          propose: propose === true,
          ...(passive && { passive }),
        });
        const result = await interruptible(
          () => followDiagnosis(handle, json === true),
          () => handle.cancel(),
        );
        const conclusion = await conclusionOf(result);
        if (json) printJson({ ...result, conclusion });
        else (await import('../render/diagnosis.ts')).printDiagnosis(result, conclusion, all);
        process.exitCode = result.kind === 'no-loss' ? exit.ok : exit.loss;
      });
    },
  );
