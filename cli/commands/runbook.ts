import { Command } from 'commander';
import { FileError } from '../../domain/yaml.ts';
import { UserError, exit, paint, print, printJson, wrapped } from '../output.ts';

/** Files that people wrote and that are wrong: their message is all that helps. */
function checked<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof FileError) throw new UserError(error.message);
    throw error;
  }
}

const lint = new Command('lint')
  .description('check every file of the runbook: form, names, expressions, references')
  .option('--json', 'print the result as JSON')
  .action(async ({ json }: { json?: true }) => {
    const { loadChecks, loadRunbook } = await import('../../runbooks/load.ts');
    const runbook = checked(() => loadRunbook());
    const { checks } = checked(() => loadChecks(runbook));
    const { digest, causes, remedies, methodology } = runbook;
    const steps = methodology.steps.length;
    if (json) printJson({ digest, causes: causes.length, remedies: remedies.length, steps, checks: checks.length });
    else
      print(
        `${causes.length} causes, ${remedies.length} remedies, ${steps} steps, ${checks.length} checks of audits are well formed; digest ${digest.slice(0, 12)}`,
      );
  });

const test = new Command('test')
  .description('judge the evidence of every case in runbooks/udp-loss/tests and compare the verdicts')
  .argument('[causes...]', 'only the cases of these causes')
  .option('--json', 'print the results as JSON')
  .addHelpText(
    'after',
    `
Examples:
  undrop runbook test
  undrop runbook test CT-FULL CT-HASH
`,
  )
  .action(async (only: string[], { json }: { json?: true }) => {
    const [{ loadRunbook }, { coverage, loadCases, runCases }] = await Promise.all([
      import('../../runbooks/load.ts'),
      import('../../runbooks/test.ts'),
    ]);
    const runbook = checked(() => loadRunbook());
    const unknown = only.filter((id) => !runbook.causes.some((cause) => cause.id === id));
    if (unknown.length) throw new UserError(`there is no cause ${unknown.join(', ')}`);
    const wanted = ({ cause }: { cause: string }): boolean => only.length === 0 || only.includes(cause);
    const results = checked(() => runCases(runbook, loadCases(runbook))).filter(wanted);
    const covered = coverage(runbook, results).filter(wanted);
    const gaps = covered.filter(({ proved, refuted, undecided }) => !proved || !refuted || undecided.length > 0);
    const failed = results.filter(({ ok }) => !ok);
    process.exitCode = failed.length || gaps.length ? exit.failed : exit.ok;
    if (json) return printJson({ results, coverage: covered });
    for (const { cause, name, at, wrong, says, file } of failed) {
      print(`${paint.red('WRONG')}  ${cause} at ${at}: ${name}  ${paint.dim(file)}`);
      for (const why of wrong) print(`       ${wrapped(why, 7)}`);
      print(`       ${paint.dim(wrapped(`it says: ${says}`, 7))}`);
    }
    for (const { cause, proved, refuted, undecided } of gaps) {
      const missing = [...(proved ? [] : ['proved']), ...(refuted ? [] : ['refuted'])];
      if (missing.length) print(`${paint.yellow('GAP')}    ${cause}: no case in which it is ${missing.join(' or ')}`);
      for (const says of undecided) print(`${paint.yellow('GAP')}    ${cause}: no case is decided by "${says}"`);
    }
    print(
      `${results.length - failed.length} right, ${failed.length} wrong; ${gaps.length} of ${covered.length} causes with gaps`,
    );
  });

export const runbook = new Command('runbook').description('the methodology as data: check it, and test its judgement');
for (const command of [lint, test]) runbook.addCommand(command);
