import {
  CancellationScope,
  ParentClosePolicy,
  condition,
  continueAsNew,
  getExternalWorkflowHandle,
  patched,
  setHandler,
  startChild,
  workflowInfo,
} from '@temporalio/workflow';
import { isTaken } from '../domain/errors.ts';
import { ask, giveBack, turn } from './messages.ts';

/** Somebody who wants to diagnose: a workflow, which of its diagnoses, and what that one's datagrams leave from and go to. */
export interface Asker {
  id: string;
  key: string;
  ends: string[];
}

export interface TurnsInput {
  atOnce: number;
  waiting?: Asker[];
  holding?: (Asker & { until: number })[];
}

/** A holder that never comes back, because it was terminated, loses its turn after this time. */
const longestMs = 15 * 60_000;
const idleMs = 60_000;

/**
 * Who waits asks again after these times, since whoever gives the turns may have been killed. Each time is some six events
 * of its history, and 200 targets of a rollout may wait for an hour.
 */
const askAgain = ['1m', '5m', '15m'] as const;

const turnsId = (inventory: string): string => `turns/${inventory}`;
const same = (one: Asker, two: Asker): boolean => one.id === two.id && one.key === two.key;

/**
 * Lets so many diagnoses go at once, first come, first served, and never two with a common end: the probes of twenty at once
 * would take each other's CPU time, and of two that send to one node each would find the other's losses in its counters.
 */
export async function turns({ atOnce, waiting = [], holding = [] }: TurnsInput): Promise<void> {
  setHandler(ask, (asker) => {
    if (![...waiting, ...holding].some((one) => same(one, asker))) waiting.push(asker);
  });
  setHandler(giveBack, remove);
  for (;;) {
    for (const late of holding.filter(({ until }) => until <= Date.now())) remove(late);
    for (let next = free(); next; next = free()) {
      const asker = next;
      waiting = waiting.filter((one) => !same(one, asker));
      holding.push({ ...asker, until: Date.now() + longestMs });
      await getExternalWorkflowHandle(asker.id)
        .signal(turn, asker.key)
        .catch(() => remove(asker)); // It has ended meanwhile.
    }
    if (workflowInfo().continueAsNewSuggested) return continueAsNew<typeof turns>({ atOnce, waiting, holding });
    const next = Math.min(...holding.map(({ until }) => until));
    const idle = holding.length === 0;
    const asked = await condition(
      () => free() !== undefined || (!idle && holding.length === 0),
      idle ? idleMs : Math.max(1, next - Date.now()),
    );
    // A request that arrives in this very moment makes the server refuse the end, and the workflow goes on.
    if (!asked && idle && waiting.length === 0) return;
  }

  /** The next whose turn it is. What those before it wait for is theirs: nobody waits for ever. */
  function free(): Asker | undefined {
    if (holding.length >= atOnce) return undefined;
    const busy = new Set(holding.flatMap(({ ends }) => ends));
    for (const asker of waiting) {
      if (!asker.ends.some((end) => busy.has(end))) return asker;
      for (const end of asker.ends) busy.add(end);
    }
    return undefined;
  }

  function remove(asker: Asker): void {
    holding = holding.filter((one) => !same(one, asker));
    waiting = waiting.filter((one) => !same(one, asker));
  }
}

/** What does work in this workflow's turn. A workflow makes one of these. */
export function turnTaker(
  inventory: string,
  atOnce: number,
): <T>(asker: Omit<Asker, 'id'>, work: () => Promise<T>) => Promise<T> {
  const { workflowId } = workflowInfo();
  const id = turnsId(inventory);
  const mine = new Set<string>();
  setHandler(turn, (key) => void mine.add(key));
  return async (asked, work) => {
    const asker = { ...asked, id: workflowId };
    try {
      for (let times = 0; !mine.has(asker.key); times++) {
        const line = async () =>
          startChild(turns, { workflowId: id, parentClosePolicy: ParentClosePolicy.ABANDON, args: [{ atOnce }] });
        // Whoever began the line may be cancelled long after: the line is everybody's, and knows who has a turn.
        const begun = patched('turns-outlive') ? CancellationScope.nonCancellable(line) : line();
        await begun.catch((error: unknown) => {
          if (!isTaken(error)) throw error;
        });
        // The one that gives turns may have ended just now, or be killed later: ask again.
        await getExternalWorkflowHandle(id)
          .signal(ask, asker)
          .catch(() => {});
        await condition(() => mine.has(asker.key), askAgain[times] ?? askAgain.at(-1));
      }
      return await work();
    } finally {
      // Also when it was cancelled, and also while it waited: the others would wait for a quarter of an hour. Those that
      // were cancelled before waiting counted go on as they began.
      if (mine.delete(asker.key) || patched('asking-withdrawn'))
        await CancellationScope.nonCancellable(async () => getExternalWorkflowHandle(id).signal(giveBack, asker)).catch(
          () => {},
        );
    }
  };
}
