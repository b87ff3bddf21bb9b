import { Command, CommanderError } from 'commander';
import { audit } from './commands/audit.ts';
import { cancel } from './commands/cancel.ts';
import { approve, reject } from './commands/decide.ts';
import { demo } from './commands/demo.ts';
import { diagnose } from './commands/diagnose.ts';
import { dev, gateway } from './commands/gateway.ts';
import { doctor } from './commands/doctor.ts';
import { lab } from './commands/lab.ts';
import { collect, explain } from './commands/offline.ts';
import { plan } from './commands/plan.ts';
import { policy } from './commands/policy.ts';
import { rollback } from './commands/rollback.ts';
import { rollout } from './commands/rollout.ts';
import { runbook } from './commands/runbook.ts';
import { runs } from './commands/runs.ts';
import { schedule } from './commands/schedule.ts';
import { show } from './commands/show.ts';
import { resume, stop } from './commands/stop.ts';
import { watch } from './commands/watch.ts';
import { worker } from './commands/worker.ts';
import { UserError, clearProgress, complain, exit } from './output.ts';

const program = new Command('undrop')
  .description('Finds out why UDP datagrams go missing, proves it with numbers and, once approved, fixes it.')
  .version('0.1.0')
  .addHelpText(
    'after',
    `
Exit codes: 0 fine, no loss or fixed; 1 loss found; 2 wrong words or files; 3 something needed failed;
4 nothing changed (rejected, refused, or reverted because it did not help); 130 interrupted.
Start here: undrop demo`,
  );
const commands = [
  demo,
  diagnose,
  audit,
  schedule,
  plan,
  approve,
  reject,
  rollout,
  rollback,
  cancel,
  watch,
  show,
  runs,
  worker,
  gateway,
  dev,
  stop,
  resume,
];
for (const command of [...commands, collect, explain, policy, runbook, doctor, lab]) program.addCommand(command);

/** Wrong words end with our exit code for them, not with commander's, which is the one for loss. */
const overrideExits = (command: Command): void => {
  command.exitOverride().showHelpAfterError(`(${pathOf(command)} --help tells more)`);
  command.commands.forEach(overrideExits);
};
const pathOf = (command: Command): string =>
  command.parent ? `${pathOf(command.parent)} ${command.name()}` : command.name();
overrideExits(program);

// Whoever reads our output may leave; and what nobody caught is a fault of ours, never the code that means "loss found".
process.stdout.on('error', (error: NodeJS.ErrnoException) =>
  process.exit(error.code === 'EPIPE' ? exit.ok : exit.failed),
);
process.on('uncaughtException', (error) => {
  complain(`undrop: ${error.stack ?? error.message}`);
  process.exit(exit.failed);
});

try {
  await program.parseAsync();
} catch (error) {
  clearProgress();
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? exit.ok : exit.usage;
  else if (error instanceof UserError) {
    complain(`undrop: ${error.message}`);
    process.exitCode = error.code;
  } else {
    complain(`undrop: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
    process.exitCode = exit.failed;
  }
}
