import { condition, defineSignal, setHandler, upsertMemo } from '@temporalio/workflow';
import type { ChangeOutcome } from '../domain/runs.ts';

/** Gives the permit back, and says how the change ended. */
export const giveBack = defineSignal<[ChangeOutcome]>('giveBack');

/**
 * One of the places for automatic changes of a rule: while it runs, its workflow id is taken. A child of its change, so that
 * the server ends it with that, whatever becomes of the worker; it then says nothing, which counts as a failure.
 */
export async function permit(): Promise<ChangeOutcome> {
  let outcome: ChangeOutcome | undefined;
  setHandler(giveBack, (said) => void (outcome = said));
  await condition(() => outcome !== undefined);
  upsertMemo({ outcome });
  return outcome ?? 'unknown';
}
