import { setTimeout as sleep } from 'node:timers/promises';
import { atOnce } from '../domain/at-once.ts';
import { innermost, isEnded, isGone } from '../domain/errors.ts';
import type { ChangeResult } from '../domain/runs.ts';
import { type Stop, type Stopped, stopId } from '../domain/stop.ts';
import { ledgerOf } from '../worker/ledger.ts';
import { failureOf } from './errors.ts';
import type { Reach } from './start.ts';
import { hasWorker } from './workers.ts';

/**
 * What does work; undoing what was confirmed goes on, and so does the switch. Incidents go on too: they look into nothing
 * while it is set, and what their senders told once is not forgotten. What touches nodes is cancelled first, and parents
 * before their children: a cancelled remediation waits for its change, and reports what became of it.
 */
const kinds = ['rollout', 'remediate', 'change', 'audit', 'diagnose'];
/** So many are cancelled at once: in a storm there are hundreds. */
const mostAtOnce = 20;
/** A change that is cancelled puts values back and proves it; a node may be slow. */
const endMs = 90_000;
const pollMs = 500;
/** How long the engine may take for the switch, for all cancellations, for all schedules, and for one look. */
const engineMs = { switch: 15_000, cancel: 30_000, pause: 15_000, look: 10_000 };
/** A switch ends in moments, or when a worker is there again. */
const resumeMs = 5_000;

interface Run {
  workflowId: string;
  kind: string;
}

/**
 * Stops everything of an inventory: nothing new begins anywhere, what runs is cancelled, schedules are paused, and every
 * change that is not confirmed is reverted. Doing it again does no harm. What fails for one thing holds up no other.
 * @param tell is told what is waited for
 * @param worker called once nothing new begins and what runs is to end: whether a worker is there that carries it out
 * @returns what became of each thing; `open` is what did not end in time, and ends by itself or by its node's timer
 * @throws Error when nothing was stopped: the engine did not take the switch
 */
export async function stopEverything(
  reach: Reach,
  stop: Stop,
  tell: (waits: string) => void,
  worker: () => Promise<boolean> = async () => hasWorker(reach.engine, reach.taskQueue),
): Promise<Stopped[]> {
  const { client } = reach.engine;
  const inTime = <T>(ms: number, work: () => Promise<T>): Promise<T> => client.withDeadline(Date.now() + ms, work);
  /** Why the engine is asked nothing more: each call to one that is away would take as long as the first. */
  let away: string | undefined;
  const missed = (error: unknown): string => {
    const why = innermost(error);
    if (!reach.engine.connected()) away ??= why;
    return why;
  };
  const done: Stopped[] = [];
  const attempt = async (id: string, kind: Stopped['kind'], work: () => Promise<void>): Promise<boolean> => {
    const why = away ?? (await work().then(() => undefined, missed));
    if (why !== undefined) done.push({ id, kind, outcome: 'failed', says: why, proof: [] });
    return why === undefined;
  };

  const inForce = await inTime(engineMs.switch, async () => throwSwitch(reach, stop));
  const cancelled: Run[] = [];
  await inTime(engineMs.cancel, async () => {
    const running: Run[] = [];
    await attempt('all runs', 'run', async () => {
      for await (const run of ofThisInventory(reach)) running.push(run);
    });
    const end = async (run: Run): Promise<void> => {
      if (await attempt(run.workflowId, kindOf(run), async () => cancel(run))) cancelled.push(run);
    };
    for (const kind of kinds) await atOnce(mostAtOnce, running.filter((run) => run.kind === kind), end); // prettier-ignore
  });
  const noWorker = await worker().then(
    (there) => (there ? undefined : 'no worker is there'),
    (error: unknown) => `whether a worker is there is not known: ${missed(error)}`,
  );
  await inTime(engineMs.pause, async () => {
    const schedules: string[] = [];
    await attempt('all schedules', 'schedule', async () => {
      for await (const { scheduleId, state } of client.schedule.list())
        if (ours(scheduleId, reach.inventory.name) && !state.paused) schedules.push(scheduleId);
    });
    for (const id of schedules)
      await attempt(id, 'schedule', async () => {
        await client.schedule.getHandle(id).pause(pauseNote(inForce));
        done.push({ id, kind: 'schedule', outcome: 'paused', says: '', proof: [] });
      });
  });
  const until = Date.now() + (noWorker === undefined ? endMs : 0);
  for (const run of cancelled) {
    tell(`${run.workflowId} puts back what it did …`);
    done.push({ id: run.workflowId, kind: kindOf(run), proof: [], says: '', ...(await ended(run)) });
  }
  return done;

  async function cancel({ workflowId }: Run): Promise<void> {
    await client.workflow.getHandle(workflowId).cancel().catch(gone);
  }

  async function ended(run: Run): Promise<Pick<Stopped, 'outcome'> & Partial<Stopped>> {
    const open = (why: string) => ({
      outcome: 'open',
      says: `${why}; what its node holds unconfirmed reverts by itself`,
    });
    try {
      for (;;) {
        if (away !== undefined) return open(`the engine does not say what became of it: ${away}`);
        const result = await inTime(engineMs.look, async () => resultOf(reach, run));
        if (result) return result;
        if (Date.now() > until) return open(noWorker ?? `it did not end within ${endMs / 1000} s`);
        await sleep(pollMs);
      }
    } catch (error) {
      return open(`the engine does not say what became of it: ${missed(error)}`);
    }
  }
}

/** How a run has ended; undefined while it goes on. */
async function resultOf(
  { engine }: Reach,
  run: Run,
): Promise<(Pick<Stopped, 'outcome'> & Partial<Stopped>) | undefined> {
  const handle = engine.client.workflow.getHandle(run.workflowId);
  const { status } = await handle.describe();
  if (status.name === 'RUNNING') return undefined;
  try {
    const { outcome = '', says = '', proof = [] } = (await handle.result()) as Partial<ChangeResult>;
    return kindOf(run) === 'change' ? { outcome, says, proof } : { outcome: 'cancelled', says };
  } catch (error) {
    if (!isEnded(error)) throw error;
    // A change says itself that it was cancelled, and what it put back; one that says nothing may have left its node armed.
    return { outcome: kindOf(run) === 'change' ? 'unknown' : 'cancelled', says: failureOf(error).message };
  }
}

/** Sets the switch. @returns the stop that is in force: whoever stopped first is named as long as nobody has resumed */
async function throwSwitch(reach: Reach, stop: Stop): Promise<Stop> {
  const { engine, taskQueue, inventory } = reach;
  const { workflow } = engine.client;
  const workflowId = stopId(inventory.name);
  const start = async (workflowIdConflictPolicy: 'USE_EXISTING' | 'TERMINATE_EXISTING'): Promise<unknown> =>
    workflow.start('stopped', {
      workflowId, taskQueue, args: [stop], memo: { ...stop }, workflowIdConflictPolicy,
      staticSummary: `stopped by ${stop.by}`,
    }); // prettier-ignore
  await start('USE_EXISTING');
  // One that was resumed ends as soon as a worker is there: joining it would come to nothing.
  const { events } = await workflow.getHandle(workflowId).fetchHistory();
  if (events?.some((event) => event.workflowExecutionSignaledEventAttributes?.signalName === 'resume'))
    await start('TERMINATE_EXISTING');
  return (await currentStop(reach)) ?? stop;
}

/** Lets things go on. Schedules that the stop paused go on too; those that were paused before stay so. */
export async function resumeEverything(reach: Reach, by: string): Promise<boolean> {
  const { engine, inventory } = reach;
  const stop = await currentStop(reach);
  if (!stop) return false;
  for await (const { scheduleId, state } of engine.client.schedule.list())
    if (ours(scheduleId, inventory.name) && state.paused && state.note === pauseNote(stop))
      await engine.client.schedule.getHandle(scheduleId).unpause(`resumed by ${by}`);
  const handle = engine.client.workflow.getHandle(stopId(inventory.name));
  await handle.signal('resume', by);
  // Whoever begins something next is not to be refused, nor a worker of this command to go before it has ended the switch.
  await engine.client.withDeadline(Date.now() + resumeMs, async () => handle.result()).catch(() => {});
  return true;
}

/** Whether everything is stopped, and by whom. */
export const currentStop = async ({ engine, taskQueue, inventory }: Reach): Promise<Stop | undefined> =>
  ledgerOf(engine.client, taskQueue, inventory.name).stopped();

const pauseNote = ({ by, at }: Stop): string => `stopped by ${by} at ${new Date(at).toISOString()}`;
const ours = (scheduleId: string, inventory: string): boolean => scheduleId.startsWith(`audit/${inventory}/`);

const kindOf = ({ kind }: Run): 'change' | 'run' => (kind === 'change' ? 'change' : 'run');

async function* ofThisInventory({ engine, taskQueue }: Reach): AsyncGenerator<Run> {
  const types = kinds.map((kind) => `"${kind}"`).join(', ');
  const query = `WorkflowType IN (${types}) AND TaskQueue = "${taskQueue}" AND ExecutionStatus = "Running"`;
  for await (const { workflowId, type } of engine.client.workflow.list({ query })) yield { workflowId, kind: type };
}

function gone(error: unknown): void {
  if (!isGone(error)) throw error;
}
