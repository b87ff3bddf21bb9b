import { Command } from 'commander';
import type { AuditWords } from '../auditing.ts';
import { inventoryOption, jsonOption, withSession } from '../command.ts';
import { complain, exit, paint, print, printJson } from '../output.ts';

interface Options extends AuditWords {
  inventory?: string;
  html?: string;
  all?: true;
  json?: true;
}

/** The options that say what an audit is, also of a schedule's. */
export const auditOptions = (command: Command): Command =>
  command
    .option('--only <globs...>', 'only nodes with these names, * for any text')
    .option('--profile <file>', 'what nodes should be like, instead of what the inventory says (docs/audits.md)')
    .option('--deadline <time>', 'longest wait for one node, such as 10s')
    .option('--diagnose', 'open diagnoses of up to three dangers')
    .option('--propose', 'and make plans for what they prove, which then wait for approval');

export const audit = auditOptions(
  new Command('audit').description('read every node once: what is in danger, what is not as it should be'),
)
  .option('--html <file>', 'write the report as one page to this file')
  .option('-a, --all', 'list everything that was found or not tested')
  .addOption(inventoryOption())
  .addOption(jsonOption())
  .addHelpText(
    'after',
    `
Exit codes: 0 no danger and every node was read; 1 nodes are in danger; 3 none is, but some could not be read,
or the page of --html not be written.

Examples:
  undrop audit
  undrop audit --only 'gpu-*' --deadline 5s --html audit.html
  undrop audit --json | jq '.unreachable[].node'
`,
  )
  .action(async (options: Options) => {
    await withSession(options.inventory, async (session) => {
      const [{ auditInput, exitOf, followAudit, recordOf, startAudit }, { interruptible }, { whoami }] =
        await Promise.all([import('../auditing.ts'), import('../interrupt.ts'), import('../identity.ts')]);
      const input = await auditInput(session, await whoami(session.inventory), options);
      const handle = await startAudit(session, input);
      if (!options.json) print(`${paint.bold(`audit of ${session.inventory.name}`)}  ${paint.dim(handle.workflowId)}`);
      const result = await interruptible(
        () => followAudit(handle, options.json === true),
        () => handle.cancel(),
      );
      const record = await recordOf(result);
      if (options.json) printJson({ ...result, rows: record?.rows });
      else (await import('../render/audit.ts')).printAudit(result, record, options.all);
      if (options.json && !record) complain(`the rows are on the worker's machine, in ${result.report}/report.json`);
      process.exitCode = exitOf(result);
      if (options.html === undefined || (await copied(result.report, options.html))) return;
      // What was found says more than that a file is missing.
      if (process.exitCode === exit.ok) process.exitCode = exit.failed;
    });
  });

/** Writes the page that the worker has made to a file. @returns whether it did; if not, it has said why */
async function copied(report: string, file: string): Promise<boolean> {
  const { readFile, writeFile } = await import('node:fs/promises');
  const page = await readFile(`${report}/report.html`).catch((error: unknown) => textOf(error));
  const why =
    typeof page === 'string'
      ? `the page is on the worker's machine, and cannot be read here: ${page}`
      : await writeFile(file, page).then(() => undefined, textOf);
  if (why !== undefined) complain(`${file} was not written: ${why}`);
  return why === undefined;
}

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
