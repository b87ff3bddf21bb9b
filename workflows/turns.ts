import {
  CancellationScope,
  ParentClosePolicy,
  condition,
  continueAsNew,
  getExternalWorkflowHandle,
  setHandler,
  startChild,
  workflowInfo,
} from '@temporalio/workflow';
import { ask, giveBack, turn } from './messages.ts';

export interface TurnsInput {
  atOnce: number;
  waiting?: string[];
  holding?: { id: string; until: number }[];
}

/** A holder that never comes back, because it was terminated, loses its turn after this time. */
const longestMs = 15 * 60_000;
const idleMs = 60_000;

const turnsId = (inventory: string): string => `turns/${inventory}`;

/**
 * Lets so many diagnoses go at once, first come, first served: the probes of twenty at once would take each other's CPU
 * time, and what they lose would look like the network's loss.
 */
export async function turns({ atOnce, waiting = [], holding = [] }: TurnsInput): Promise<void> {
  setHandler(ask, (id) => {
    if (!waiting.includes(id) && !holding.some((one) => one.id === id)) waiting.push(id);
  });
  setHandler(giveBack, (id) => {
    remove(id);
  });
  for (;;) {
    for (const late of holding.filter(({ until }) => until <= Date.now())) remove(late.id);
    while (waiting.length > 0 && holding.length < atOnce) {
      const id = waiting.shift() ?? '';
      holding.push({ id, until: Date.now() + longestMs });
      await getExternalWorkflowHandle(id)
        .signal(turn)
        .catch(() => remove(id)); // It has ended meanwhile.
    }
    if (workflowInfo().continueAsNewSuggested) return continueAsNew<typeof turns>({ atOnce, waiting, holding });
    const next = Math.min(...holding.map(({ until }) => until));
    const idle = holding.length === 0;
    const asked = await condition(
      () => (waiting.length > 0 && holding.length < atOnce) || (!idle && holding.length === 0),
      idle ? idleMs : Math.max(1, next - Date.now()),
    );
    // A request that arrives in this very moment makes the server refuse the end, and the workflow goes on.
    if (!asked && idle && waiting.length === 0) return;
  }

  function remove(id: string): void {
    holding = holding.filter((one) => one.id !== id);
    waiting = waiting.filter((one) => one !== id);
  }
}

/** Does work in this workflow's turn. */
export async function inTurn<T>(inventory: string, atOnce: number, work: () => Promise<T>): Promise<T> {
  const { workflowId } = workflowInfo();
  const id = turnsId(inventory);
  let mine = false;
  setHandler(turn, () => void (mine = true));
  while (!mine) {
    await startChild(turns, {
      workflowId: id,
      parentClosePolicy: ParentClosePolicy.ABANDON,
      args: [{ atOnce }],
    }).catch(ignoreStarted);
    // The one that gives turns may have ended just now, or be killed later: ask again.
    await getExternalWorkflowHandle(id)
      .signal(ask, workflowId)
      .catch(() => {});
    await condition(() => mine, '1m');
  }
  try {
    return await work();
  } finally {
    // Also when it was cancelled: the others would wait for a quarter of an hour.
    await CancellationScope.nonCancellable(async () =>
      getExternalWorkflowHandle(id).signal(giveBack, workflowId),
    ).catch(() => {});
  }
}

function ignoreStarted(error: unknown): void {
  if (!(error instanceof Error && error.name === 'WorkflowExecutionAlreadyStartedError')) throw error;
}
