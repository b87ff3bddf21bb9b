import { Command } from 'commander';
import { needed } from '../../domain/approval.ts';
import { mostReason, plainText } from '../../domain/plain-text.ts';
import { inventoryOption, jsonOption, runHelp, withSession } from '../command.ts';
import { confirmed } from '../confirm.ts';
import { UserError, exit, paint, print, printJson } from '../output.ts';

interface Options {
  inventory?: string;
  key?: string;
  as?: string;
  digest?: string;
  reason?: string;
  yes?: true;
  json?: true;
}

const decision = (name: 'approve' | 'reject'): Command =>
  new Command(name)
    .argument('<run>', `${runHelp}, or of a rollout`)
    .option('--key <file>', 'your private ssh key (default: ~/.ssh/id_ed25519, id_ecdsa or id_rsa)')
    .option('--as <name>', 'the approver that you are (default: whose key it is)')
    .option('--digest <digest>', 'refuse if the plan is not this one (its first 12 digits or more)')
    .addOption(inventoryOption())
    .addOption(jsonOption());

export const approve = decision('approve')
  .description('look at the plan of a run or rollout, approve it with your ssh key, and see it through')
  .option('--reason <text>', 'why, for the record')
  .option('-y, --yes', 'do not ask at the terminal')
  .addHelpText(
    'after',
    `
^C while the change is in progress reverts what is not confirmed.

Examples:
  undrop approve last
  undrop approve last --yes --digest 3f9c2ab1e07d --key ~/.ssh/id_ed25519
`,
  )
  .action((run: string, options: Options) => decideOn(run, 'approve', options));

export const reject = decision('reject')
  .description('reject the plan of a run or rollout, with a reason')
  .requiredOption('--reason <text>', 'why')
  .addHelpText('after', "\nExample:\n  undrop reject last --reason 'not during the sale'\n")
  .action((run: string, options: Options) => decideOn(run, 'reject', options));

async function decideOn(text: string, answer: 'approve' | 'reject', options: Options): Promise<void> {
  if (options.digest !== undefined && !/^[0-9a-f]{12,64}$/.test(options.digest))
    throw new UserError(`--digest takes at least the first 12 digits of a digest, not "${options.digest}"; nothing was decided`); // prettier-ignore
  await withSession(options.inventory, async (session) => {
    const [{ openBy }, plans, { signed: sign }, { interruptible }] = await Promise.all([
      import('../deciding.ts'),
      import('../../client/plans.ts'),
      import('../identity.ts'),
      import('../interrupt.ts'),
    ]);
    const { name, handle, digest, needs, show, follow } = await openBy(session, text);
    if (options.digest !== undefined && !digest.startsWith(options.digest))
      throw new UserError(
        `the plan is ${digest.slice(0, options.digest.length)}, not ${options.digest}; nothing was decided`,
        exit.unchanged,
      );
    if (answer === 'approve' && options.json && !options.yes)
      throw new UserError('--json shows no plan; give --yes too');
    if (!options.json) show();
    if (answer === 'approve' && !options.yes && !(await confirmed('Approve exactly this?')))
      throw new UserError('nothing was decided; the plan still waits', exit.unchanged);
    const decision = await sign(
      session.inventory,
      handle.workflowId,
      { digest, decision: answer, reason: plainText(options.reason ?? '', mostReason) },
      { ...(options.as !== undefined && { as: options.as }), ...(options.key !== undefined && { key: options.key }) },
    );
    await plans.decide(handle, decision);
    if (!options.json) print(`${paint.dim(`${answer} by ${decision.principal} recorded`)}`);
    if (answer === 'approve' && (await plans.stillOpen(handle))) {
      if (options.json) return printJson({ run: name, outcome: 'open', decision });
      return print(`it needs ${needed(needs)}: somebody else has to agree too`);
    }
    const { code, result } = await interruptible(
      () => follow(options.json === true),
      () => handle.cancel(),
    );
    if (options.json) printJson(result);
    process.exitCode = answer === 'reject' ? exit.ok : code;
  });
}
