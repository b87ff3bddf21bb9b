import { setTimeout as sleep } from 'node:timers/promises';
import type { WorkflowHandle } from '@temporalio/client';
import { failureOf } from '../client/errors.ts';
import { clearProgress, exit } from './output.ts';

const silentMs = 20_000;

/**
 * Looks at a workflow again and again until it ends.
 * @param look asks its worker how far it is, and shows that
 * @throws UserError with the reason when it failed or was cancelled
 */
export async function followed<T>(handle: WorkflowHandle, look: () => Promise<void>, everyMs: number): Promise<T> {
  const result = handle.result() as Promise<T>;
  let ended = false;
  const end = result.catch(() => {}).finally(() => (ended = true));
  const silence = new Silence();
  while (!ended) {
    await Promise.race([end, sleep(everyMs)]);
    if (!ended) await look().then(() => silence.broken(), () => silence.grows()); // prettier-ignore
  }
  clearProgress();
  return result.catch((error: unknown) => {
    throw failureOf(error);
  });
}

/** The exit code of a remediation's or a rollout's end. */
export const codeOf = ({ outcome }: { outcome: string }): number => {
  if (outcome === 'confirmed' || outcome === 'healed') return exit.ok;
  return outcome === 'failed' || outcome === 'partly' ? exit.failed : exit.unchanged;
};

/** Says once when nobody answers for a while: a run without a worker stands still for ever, and looks like a slow one. */
class Silence {
  private since = Date.now();
  private told = false;

  broken(): void {
    this.since = Date.now();
    this.told = false;
  }

  grows(): void {
    if (this.told || Date.now() - this.since < silentMs) return;
    this.told = true;
    clearProgress();
    process.stderr.write(
      'no worker has answered for 20 s: start one with `undrop worker`; ^C leaves the run as it is\n',
    );
  }
}
