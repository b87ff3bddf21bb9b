import type { Client } from '@temporalio/client';
import type { Ledger } from '../activities/deps.ts';
import type { Automatic } from '../domain/automatic.ts';
import { isGone } from '../domain/errors.ts';
import { stopId } from '../domain/stop.ts';

/**
 * So many are counted, and for so long. Each of them may be the failure that matters, so what lies beyond is not left out: then
 * the number is not known.
 */
const most = { permits: 20_000, ms: 10_000 };

/**
 * Automatic changes, as the server keeps them: each is a workflow `permit`, a child of its change, whose memo says how it ended.
 * The list comes from an index that lags by moments, which is good enough to count failures. How many are in progress is
 * decided by workflow ids instead: a rule has so many permits, and the server gives each of them to one change at a time.
 */
export function ledgerOf({ workflow }: Client, taskQueue: string, inventory: string): Ledger {
  return {
    async automatic(since) {
      const ended = `CloseTime > "${new Date(since).toISOString()}"`;
      const query = `WorkflowType = "permit" AND TaskQueue = "${taskQueue}" AND (ExecutionStatus = "Running" OR ${ended})`;
      const found: Automatic[] = [];
      const until = Date.now() + most.ms;
      let seen = 0;
      for await (const { workflowId, memo, startTime, closeTime, parentExecution } of workflow.list({ query })) {
        if (++seen > most.permits || Date.now() > until)
          return `the automatic changes since ${new Date(since).toISOString()} could not all be counted (stopped at ${seen} workflows; at most ${most.permits}, or ${most.ms / 1000} s)`;
        // Anybody may start a workflow of that name, and say that it went well: only a change has one as its child.
        const rule = /^permit\/[^/]+\/([^/]+)\/\d+$/.exec(workflowId)?.[1];
        if (rule === undefined || !parentExecution?.workflowId?.startsWith('change/')) continue;
        const outcome = memo?.['outcome'];
        found.push({
          permit: workflowId,
          rule,
          startedAt: startTime.getTime(),
          ...(closeTime && { endedAt: closeTime.getTime() }),
          ...(typeof outcome === 'string' && { outcome }),
        });
      }
      return found;
    },
    async stopped() {
      try {
        const { status, memo } = await workflow.getHandle(stopId(inventory)).describe();
        if (status.name !== 'RUNNING') return undefined;
        const { by, reason, at } = memo ?? {};
        return { by: String(by), reason: String(reason), at: Number(at) };
      } catch (error) {
        if (isGone(error)) return undefined;
        throw error;
      }
    },
    async runs(workflowId) {
      try {
        return (await workflow.getHandle(workflowId).describe()).status.name === 'RUNNING';
      } catch (error) {
        if (isGone(error)) return false;
        throw error;
      }
    },
    async holds(permit, change) {
      const { status, parentExecution } = await workflow.getHandle(permit).describe();
      const { workflowId, runId } = parentExecution ?? {};
      return status.name === 'RUNNING' && workflowId === change.workflowId && runId === change.runId;
    },
  };
}
