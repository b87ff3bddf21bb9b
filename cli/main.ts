import { Command } from 'commander';
import { approve, reject } from './commands/decide.ts';
import { demo } from './commands/demo.ts';
import { diagnose } from './commands/diagnose.ts';
import { doctor } from './commands/doctor.ts';
import { lab } from './commands/lab.ts';
import { collect, explain } from './commands/offline.ts';
import { plan } from './commands/plan.ts';
import { rollback } from './commands/rollback.ts';
import { runbook } from './commands/runbook.ts';
import { runs } from './commands/runs.ts';
import { show } from './commands/show.ts';
import { watch } from './commands/watch.ts';
import { worker } from './commands/worker.ts';
import { UserError, clearProgress, exit } from './output.ts';

const program = new Command('undrop')
  .description('Finds out why UDP datagrams go missing, proves it with numbers and, once approved, fixes it.')
  .version('0.1.0')
  .showHelpAfterError('(undrop --help tells more)')
  .exitOverride()
  .addHelpText(
    'after',
    `
Exit codes: 0 fine, no loss or fixed; 1 loss found; 2 wrong words or files; 3 something needed failed;
4 nothing changed (rejected, refused, or reverted because it did not help); 130 interrupted.
Start here: undrop demo`,
  );
program.addCommand(demo);
for (const command of [diagnose, plan, approve, reject, rollback]) program.addCommand(command);
for (const command of [watch, show, runs, worker]) program.addCommand(command);
for (const command of [collect, explain, runbook, doctor, lab]) program.addCommand(command);

try {
  await program.parseAsync();
} catch (error) {
  clearProgress();
  if (error instanceof UserError) {
    process.stderr.write(`undrop: ${error.message}\n`);
    process.exitCode = error.code;
  } else {
    process.stderr.write(`undrop: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.exitCode = exit.failed;
  }
}
