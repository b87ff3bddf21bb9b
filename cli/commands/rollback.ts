import { Command } from 'commander';
import { described } from '../../domain/operation.ts';
import { inventoryOption, jsonOption, runHelp, withSession } from '../command.ts';
import { UserError, exit, paint, print, printJson } from '../output.ts';

export const rollback = new Command('rollback')
  .description(
    'undo the confirmed changes of a run or rollout: every value that was read before goes back, and is read again',
  )
  .argument('<run>', `${runHelp}, or of a rollout`)
  .addOption(inventoryOption())
  .addOption(jsonOption())
  .addHelpText('after', '\nExample:\n  undrop rollback last\n')
  .action(async (text: string, { inventory, json }: { inventory?: string; json?: true }) => {
    await withSession(inventory, async (session) => {
      const [{ findRunOrRollout }, { rollBack }, { ofRollout, ofRun }] = await Promise.all([
        import('../../client/rollouts.ts'),
        import('../../client/plans.ts'),
        import('../../client/confirmed.ts'),
      ]);
      const { name: run, rollout } = await findRunOrRollout(session, text);
      const confirmed = rollout ? await ofRollout(session, rollout) : await ofRun(session, run);
      if (confirmed.length === 0) throw new UserError(`${run} has no confirmed change to undo`, exit.unchanged);
      const undone = [];
      for (const { input, change } of confirmed) {
        // A node that is gone keeps no other from being put back.
        const { state, proof } = await rollBack(session, input, change).catch((error: unknown) => ({
          state: 'failed',
          proof: [error instanceof Error ? error.message : String(error)],
        }));
        const set = state === 'none' ? (input.signed.plan.changes[input.index]?.operations ?? []).map(described) : [];
        undone.push({ place: change.place, state, proof, ...(set.length > 0 && { set }) });
        if (json) continue;
        print(`${state === 'reverted' ? paint.green(state) : paint.yellow(state)}  ${change.place}: ${meaning(state)}`);
        for (const line of proof) print(`    ${paint.dim(state === 'failed' ? line : `read back: ${line}`)}`);
        for (const line of set) print(`    ${paint.dim(`it had set ${line}`)}`);
      }
      if (json) printJson({ run, undone });
      // Nobody has read whether a change that its node knows nothing of is undone.
      process.exitCode = undone.every(({ state }) => state === 'reverted') ? exit.ok : exit.failed;
    });
  });

const meaning = (state: string): string => {
  if (state === 'reverted') return 'every value is back and reads as before';
  if (state === 'conflict') return 'somebody else changed a value since; it was left alone';
  if (state === 'failed') return 'it could not be undone now';
  if (state === 'none')
    return 'its node has no journal of it, and nothing was undone: after a boot its values are the old ones, otherwise read them';
  return 'a value would not go back; see the journal on the node';
};
