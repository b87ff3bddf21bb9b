import { Command } from 'commander';
import { inventoryOption, jsonOption, windowMsOf, windowOption } from '../command.ts';
import { readInventory } from '../inventory.ts';
import { UserError, clearProgress, exit, paint, print, printJson, progress } from '../output.ts';

export const collect = new Command('collect')
  .description('observe a target without a server and write a bundle that `undrop explain` judges anywhere')
  .argument('<target>', "FROM->TO, such as 'web-1->dns', in a cluster 'pod/shop/web-1->service/shop/dns'")
  .option('-o, --output <file>', 'the bundle', 'undrop-bundle.json.gz')
  .addOption(windowOption())
  .addOption(inventoryOption())
  .addHelpText(
    'after',
    "\nExample:\n  undrop collect 'web-1->dns' -o case-17.json.gz && undrop explain case-17.json.gz\n",
  )
  .action(async (target: string, options: { output: string; window: string; inventory?: string }) => {
    const [{ resolved, sweep }, { newRun }, { collect: observe }, { ShellPool }, { loadRunbook }, { writeBundle }] =
      await Promise.all([
        import('../../activities/resolve.ts'),
        import('../../client/start.ts'),
        import('../../nodes/observing/collect.ts'),
        import('../../nodes/shells/pool.ts'),
        import('../../runbooks/load.ts'),
        import('../bundle.ts'),
      ]);
    const [{ printStep }, { interruptible }] = await Promise.all([
      import('../render/conclusion.ts'),
      import('../interrupt.ts'),
    ]);
    const windowMs = windowMsOf(options.window);
    const inventory = await readInventory(options.inventory);
    const runbook = loadRunbook();
    const stop = new AbortController();
    const shells = new ShellPool(inventory);
    const run = newRun();
    try {
      const { path, view } = await resolved({ inventory, shells }, target, run);
      progress('  control …');
      const parts = await interruptible(
        () =>
          observe(shells, path, runbook, {
            windowMs,
            ...(view && { view }),
            signal: stop.signal,
            onStep: ({ id, question }, result) => {
              clearProgress();
              const failed = 'failed' in result ? { sent: 0, lost: 0, failed: result.failed } : result;
              printStep({ step: id, question, ms: 0, ...failed });
            },
          }),
        async () => stop.abort(),
      );
      await writeBundle(options.output, { runbook: runbook.digest, parts });
      print(`${paint.dim('bundle')}  ${options.output}; undrop explain ${options.output} judges it`);
    } catch (error) {
      if (stop.signal.aborted) throw new UserError('interrupted; nothing was written', exit.interrupted);
      throw error instanceof Error ? new UserError(error.message, exit.failed) : error;
    } finally {
      await sweep({ inventory, shells }, run);
      await shells.close();
    }
  });

export const explain = new Command('explain')
  .description('judge a collected bundle, or the evidence of a run, by the runbook that is here now; needs no server')
  .argument('<bundle>', 'a file of `undrop collect`, or the name of a run on this machine')
  .option('-a, --all', 'list every cause that was ruled out or not tested')
  .addOption(jsonOption())
  .addHelpText('after', '\nExamples:\n  undrop explain case-17.json.gz\n  undrop explain 20261124-0912-ab3f01\n')
  .action(async (name: string, { all, json }: { all?: true; json?: true }) => {
    const [{ conclude }, { evidenceOf }, { loadRunbook }, { readBundle }, { printConclusion }] = await Promise.all([
      import('../../domain/conclude.ts'),
      import('../../domain/steps.ts'),
      import('../../runbooks/load.ts'),
      import('../bundle.ts'),
      import('../render/conclusion.ts'),
    ]);
    const { runbook: pinned, parts } = await readBundle(name);
    const runbook = loadRunbook();
    const conclusion = conclude(runbook, evidenceOf(parts));
    const same = pinned === runbook.digest;
    if (json) printJson({ target: parts.path.text, runbook: runbook.digest, sameRunbook: same, conclusion });
    else {
      print(paint.bold(parts.path.text));
      if (!same)
        print(paint.dim(`observed under runbook ${pinned.slice(0, 12)}, judged by ${runbook.digest.slice(0, 12)}`));
      printConclusion(runbook, conclusion, all);
    }
    process.exitCode = conclusion.kind === 'no-loss' ? exit.ok : exit.loss;
  });
