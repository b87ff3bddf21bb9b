import { Command } from 'commander';
import { diagnose } from './commands/diagnose.ts';
import { lab } from './commands/lab.ts';
import { runbook } from './commands/runbook.ts';
import { UserError, clearProgress, exit } from './output.ts';

const program = new Command('undrop')
  .description('Finds out why UDP datagrams go missing, proves it with numbers and, once approved, fixes it.')
  .version('0.1.0')
  .showHelpAfterError('(undrop --help tells more)')
  .addHelpText(
    'after',
    `
Exit codes: 0 fine, no loss or fixed; 1 loss found; 2 wrong words or files; 3 something needed failed;
4 nothing changed (rejected, refused, or reverted because it did not help); 130 interrupted.
Start here: undrop demo`,
  );
for (const command of [diagnose, lab, runbook]) program.addCommand(command);

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
