import { Command } from 'commander';
import { inventoryOption, jsonOption, runHelp, withSession } from '../command.ts';
import { UserError, exit, paint, print, printJson } from '../output.ts';

export const rollback = new Command('rollback')
  .description('undo the confirmed changes of a run: every value that was read before goes back, and is read again')
  .argument('<run>', runHelp)
  .addOption(inventoryOption())
  .addOption(jsonOption())
  .addHelpText('after', '\nExample:\n  undrop rollback last\n')
  .action(async (text: string, { inventory, json }: { inventory?: string; json?: true }) => {
    await withSession(inventory, async (session) => {
      const [{ diagnosisOf, findRun, remediationOf }, { rollBack }] = await Promise.all([
        import('../lookup.ts'),
        import('../remediating.ts'),
      ]);
      const run = await findRun(session, text);
      const result = (await remediationOf(session, run))?.result;
      const confirmed = result?.changes.filter(({ outcome }) => outcome === 'confirmed') ?? [];
      if (!result?.signed || confirmed.length === 0)
        throw new UserError(`run ${run} has no confirmed change to undo`, exit.unchanged);
      const { path, evidence } = await diagnosisOf(session, run);
      const undone = [];
      for (const change of confirmed.toReversed()) {
        const input = {
          remediation: `remediate/${run}`,
          signed: result.signed,
          index: 0,
          approvals: [],
          path,
          evidence,
        };
        input.index = result.signed.plan.changes.findIndex(({ place }) => place === change.place);
        const { state, proof } = await rollBack(session, input, change);
        undone.push({ place: change.place, state, proof });
        if (json) continue;
        print(`${state === 'reverted' ? paint.green(state) : paint.yellow(state)}  ${change.place}: ${meaning(state)}`);
        for (const line of proof) print(`    ${paint.dim(`read back: ${line}`)}`);
      }
      if (json) printJson({ run, undone });
      process.exitCode = undone.every(({ state }) => state === 'reverted') ? exit.ok : exit.failed;
    });
  });

const meaning = (state: string): string => {
  if (state === 'reverted') return 'every value is back and reads as before';
  if (state === 'conflict') return 'somebody else changed a value since; it was left alone';
  if (state === 'none') return 'the node knows nothing of this change (it was booted, or undone already)';
  return 'a value would not go back; see the journal on the node';
};
