import { Command, Option } from 'commander';
import { UserError, exit, paint, print, printJson } from '../output.ts';

interface Options {
  inventory?: string;
  window: string;
  propose?: true;
  all?: true;
  json?: true;
}

export const diagnose = new Command('diagnose')
  .description('find out whether and why a target loses UDP datagrams')
  .argument('<target>', "FROM->TO: nodes, pods or, as TO, a Service of the inventory, such as 'web-1->dns'")
  .option('-i, --inventory <file>', 'the inventory (default: $UNDROP_INVENTORY, else ./undrop.yaml)')
  .addOption(new Option('-w, --window <seconds>', 'quiet window that shows what moves anyway').default('1.5'))
  .option('-p, --propose', 'make a plan for what is proved, which then waits for approval')
  .option('-a, --all', 'list every cause that was ruled out or not tested')
  .option('--json', 'print the result as JSON')
  .addHelpText(
    'after',
    `
Examples:
  undrop diagnose 'web-1->dns'
  undrop diagnose 'node-1->node-2' --propose
  undrop diagnose 'web-1->web-2' --json | jq .conclusion.says
`,
  )
  .action(async (target: string, options: Options) => {
    const [{ readInventory }, { openSession }, diagnosing, { evidenceStore }, { whoami }, { interruptible }] =
      await Promise.all([
        import('../inventory.ts'),
        import('../session.ts'),
        import('../diagnosing.ts'),
        import('../../worker/worker.ts'),
        import('../identity.ts'),
        import('../interrupt.ts'),
      ]);
    const { TargetError, resolveTarget } = await import('../../domain/target.ts');
    const windowMs = Number(options.window) * 1000;
    if (!(windowMs >= 200 && windowMs <= 600_000)) throw new UserError('--window takes 0.2 to 600 seconds');
    const inventory = await readInventory(options.inventory);
    try {
      resolveTarget(inventory, target);
    } catch (error) {
      if (error instanceof TargetError) throw new UserError(error.message);
      throw error;
    }
    const session = await openSession(inventory);
    try {
      const run = diagnosing.newRun();
      if (!options.json) print(`${paint.bold(target)}  ${paint.dim(`run ${run}`)}`);
      const requester = await whoami(inventory);
      const propose = options.propose === true;
      const handle = await diagnosing.startDiagnosis(session, run, { target, requester, windowMs, propose });
      const result = await interruptible(
        () => diagnosing.followDiagnosis(handle, options.json === true),
        () => handle.cancel(),
      );
      const conclusion = await evidenceStore().get<import('../../domain/verdict.ts').Conclusion>(result.conclusion);
      if (options.json) printJson({ ...result, conclusion });
      else {
        const [{ printConclusion }, { loadRunbook }] = await Promise.all([
          import('../render/conclusion.ts'),
          import('../../runbooks/load.ts'),
        ]);
        printConclusion(loadRunbook(), conclusion, options.all === true);
        print(`${paint.dim('report')}  ${result.report}/report.md`);
        if (result.remediation !== undefined)
          print(`${paint.dim('plan')}    undrop show ${run}, then undrop approve ${run}`);
        else if (result.roots.length > 0) print(`${paint.dim('plan')}    undrop plan ${run}`);
      }
      process.exitCode = result.kind === 'no-loss' ? exit.ok : exit.loss;
    } finally {
      await session.close();
    }
  });
