import {
  ActivityFailure,
  CancellationScope,
  isCancellation,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  sleep,
  workflowInfo,
} from '@temporalio/workflow';
import type { Activities } from '../activities/index.ts';
import {
  type AuditBatch,
  type AuditInput,
  type AuditProgress,
  type AuditResult,
  auditIdOf,
  batchesOf,
  cancelledFirst,
} from '../domain/audit.ts';
import { publish } from './attributes.ts';
import { lookInto } from './look-into.ts';
import { auditProgress } from './messages.ts';

const retry = { maximumAttempts: 5, initialInterval: '200ms' } as const;
/** Reading may wait for its turn where the rate is limited; a heartbeat shows a dead worker within seconds. */
const node = proxyActivities<Activities>({
  startToCloseTimeout: '30m',
  heartbeatTimeout: '2s',
  cancellationType: 'WAIT_CANCELLATION_COMPLETED',
  retry,
});
const quick = proxyActivities<Activities>({ startToCloseTimeout: '60s', heartbeatTimeout: '2s', retry });

/**
 * Reads every node in batches, all of them at once, judges what was read and writes the reports; then has what it suspects
 * diagnosed. When it is cancelled it reports what it has read by then.
 */
export async function audit(input: AuditInput): Promise<AuditResult> {
  const id = auditIdOf(workflowInfo().workflowId);
  const progress: AuditProgress = { phase: 'listing', total: 0, done: 0, failed: [] };
  setHandler(auditProgress, () => progress);
  const show = (phase: AuditProgress['phase']): void => {
    progress.phase = phase;
    setCurrentDetails(details(progress));
  };
  publish(input.visible, { target: `audit of ${input.inventory}`, phase: 'reading' });
  const { only, deadlineMs, profile } = input;
  const plan = await quick.auditNodes({
    ...(only && { only }),
    ...(deadlineMs !== undefined && { deadlineMs }),
    ...(profile !== undefined && { profile }),
  });
  progress.total = plan.nodes.length;
  show('reading');
  const names = plan.nodes.map(({ name }) => name);
  const all = batchesOf(names, plan.batch);
  const size = all[0]?.length ?? 0;
  const batches = await Promise.all(
    all.map(async (batch, index) => {
      // So that several workers together keep the rate as well.
      const waitMs = plan.perSecond ? (1000 * index * size) / plan.perSecond : 0;
      const read = await batchOf(batch, plan.deadlineMs, waitMs);
      progress.done += batch.length;
      progress.failed.push(...read.failed.map((one) => one.node));
      show('reading');
      return read;
    }),
  );
  show('judging');
  const { suspects, ...result } = await CancellationScope.nonCancellable(async () =>
    quick.auditReport(id, input, plan, batches),
  );
  const cancelled = (): boolean => CancellationScope.current().consideredCancelled;
  const left = (targets: readonly string[]): void => {
    progress.suspected = [...targets];
    show('diagnosing');
  };
  const diagnoses = input.diagnose && !cancelled() && suspects.length ? await lookInto(input, suspects, left) : [];
  publish(input.visible, { phase: 'done', conclusion: cancelled() ? 'cancelled' : conclusionOf(result) });
  progress.phase = 'done';
  setCurrentDetails(`**${result.says}**\n\n${result.report}`);
  return { ...result, diagnoses, ...(cancelled() && { cancelled: true }) };
}

/** A batch that cannot be read at all is a result too: its nodes are named, and the others count. */
async function batchOf(names: string[], deadlineMs: number, waitMs: number): Promise<AuditBatch> {
  try {
    if (waitMs > 0) await sleep(waitMs);
    return await node.auditBatch(names, deadlineMs);
  } catch (error) {
    const why = isCancellation(error) ? cancelledFirst : reasonOf(error);
    return { values: '', done: 0, failed: names.map((name) => ({ node: name, why })) };
  }
}

/** What an activity failed of. Everything else is a fault of this code, and thrown on. */
function reasonOf(error: unknown): string {
  if (error instanceof ActivityFailure) return error.cause?.message ?? error.message;
  throw error;
}

function conclusionOf({ counts, unreachable }: Omit<AuditResult, 'diagnoses'>): string {
  if (counts.danger) return 'danger';
  if (unreachable.length) return 'unreachable';
  return counts.drift ? 'drift' : 'fine';
}

function details({ phase, total, done, failed, suspected }: AuditProgress): string {
  if (suspected?.length) return `**${phase}**: ${suspected.join(', ')}`;
  const some = failed.slice(0, 50).join(', ');
  return `**${phase}**: ${done} of ${total} nodes${failed.length ? `; ${failed.length} could not be read: ${some}` : ''}`;
}
