import { CancellationScope, isCancellation, patched, proxyActivities } from '@temporalio/workflow';
import type { Activities } from '../activities/index.ts';
import { causeOf } from '../domain/errors.ts';
import type { Site } from '../domain/runs.ts';
import { significant } from '../domain/statistics.ts';

/**
 * The timer of the node that was changed runs meanwhile, and has a minute for this (`soakMarginSeconds`): none begins later,
 * and each may take 20 s for its measurement and as long to let go.
 */
const beginWithinMs = 15_000;
const node = proxyActivities<Activities>({
  startToCloseTimeout: '20s',
  scheduleToCloseTimeout: '20s',
  heartbeatTimeout: '2s',
  cancellationType: 'WAIT_CANCELLATION_COMPLETED',
  retry: { maximumAttempts: 4, initialInterval: '200ms' },
});

/** What was seen where nothing was changed. */
export interface Controls {
  /** Whether one of them still loses. */
  lose: boolean;
  /** Targets that lose no more. */
  quiet: string[];
  /** Those that could not be measured, with the reason: they say nothing of the change. */
  away: string[];
}

/** Looks at one after another until one still loses: a single one may have healed for reasons of its own. */
export async function lookAtControls(id: string, controls: readonly Site[]): Promise<Controls> {
  const seen: Controls = { lose: false, quiet: [], away: [] };
  const until = Date.now() + beginWithinMs;
  for (const control of controls) {
    if (Date.now() >= until) break;
    const { text } = control.path;
    try {
      const { steps } = await node.measure(id, control);
      if (steps.some(({ sent }) => sent === 0)) throw new Error('nothing was sent');
      if (steps.some(({ lost }) => significant(lost))) return { ...seen, lose: true };
      seen.quiet.push(text);
    } catch (error) {
      // Changes that met one before it was left out of account are put back for it, as they began to be.
      if (isCancellation(error) || !patched('controls-away')) throw error;
      seen.away.push(`${text}: ${causeOf(error)}`);
    } finally {
      // Probers end with their session anyway, and no change is to fail of this.
      await CancellationScope.nonCancellable(() => node.release(id, control.signed.plan.run)).catch(() => {});
    }
  }
  return seen;
}
