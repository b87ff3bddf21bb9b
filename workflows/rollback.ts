import { proxyActivities } from '@temporalio/workflow';
import type { Activities } from '../activities/index.ts';
import type { ChangeInput, ChangeResult } from '../domain/runs.ts';

const node = proxyActivities<Activities>({
  startToCloseTimeout: '20s',
  scheduleToCloseTimeout: '60s',
  heartbeatTimeout: '2s',
  retry: { initialInterval: '200ms', maximumInterval: '2s' },
});

/** Undoes a change that was confirmed: the node still has its journal. Runs under the node's lock, as a change does. */
export async function rollback(
  input: ChangeInput,
  { id, token }: ChangeResult,
): Promise<{ state: string; proof: string[] }> {
  return node.revert({ id, token }, input, true);
}
