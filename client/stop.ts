import { setTimeout as sleep } from 'node:timers/promises';
import { isGone } from '../domain/errors.ts';
import type { ChangeResult } from '../domain/runs.ts';
import { type Stop, type Stopped, stopId } from '../domain/stop.ts';
import { ledgerOf } from '../worker/ledger.ts';
import { failureOf } from './errors.ts';
import type { Reach } from './start.ts';

/** What begins work, or does it; undoing what was confirmed goes on, and so does the switch. */
const kinds = ['incident', 'diagnose', 'audit', 'rollout', 'remediate', 'change'];
/** A change that is cancelled puts values back and proves it; a node may be slow. */
const endMs = 90_000;
const pollMs = 500;

/**
 * Stops everything of an inventory: nothing new begins anywhere, schedules are paused, what runs is cancelled, and every
 * change that is not confirmed is reverted. Doing it again does no harm.
 * @param tell is told what is waited for
 * @returns what became of each thing; `open` is what did not end in time, and ends by itself or by its node's timer
 */
export async function stopEverything(reach: Reach, stop: Stop, tell: (waits: string) => void): Promise<Stopped[]> {
  const { engine, taskQueue, inventory } = reach;
  const { workflow } = engine.client;
  await workflow.start('stopped', {
    workflowId: stopId(inventory.name), taskQueue, args: [stop], memo: { ...stop }, workflowIdConflictPolicy: 'USE_EXISTING',
    staticSummary: `stopped by ${stop.by}`,
  }); // prettier-ignore
  const done: Stopped[] = await pauseSchedules(reach, stop);
  const running = await ofThisInventory(reach);
  // Their parents first: a cancelled remediation waits for its change, and reports what became of it.
  for (const { workflowId } of running) await workflow.getHandle(workflowId).cancel().catch(gone);
  const until = Date.now() + endMs;
  for (const { workflowId, kind } of running) {
    tell(`${workflowId} puts back what it did …`);
    done.push(await ended(workflowId, kind, until));
  }
  return done;

  async function ended(workflowId: string, kind: string, deadline: number): Promise<Stopped> {
    const handle = workflow.getHandle(workflowId);
    const base = { id: workflowId, kind: kind === 'change' ? ('change' as const) : ('run' as const), proof: [] };
    for (;;) {
      const { status } = await handle.describe();
      if (status.name !== 'RUNNING') break;
      if (Date.now() > deadline)
        return {
          ...base,
          outcome: 'open',
          says: 'no worker ends it; what its node holds unconfirmed reverts by itself',
        };
      await sleep(pollMs);
    }
    try {
      const result = (await handle.result()) as Partial<ChangeResult>;
      if (kind !== 'change') return { ...base, outcome: 'cancelled', says: result.says ?? '' };
      return { ...base, outcome: result.outcome ?? '', says: result.says ?? '', proof: result.proof ?? [] };
    } catch (error) {
      return { ...base, outcome: 'cancelled', says: failureOf(error).message };
    }
  }
}

/** Lets things go on. Schedules that the stop paused go on too; those that were paused before stay so. */
export async function resumeEverything(reach: Reach, by: string): Promise<boolean> {
  const { engine, inventory } = reach;
  const stop = await currentStop(reach);
  if (!stop) return false;
  for await (const { scheduleId, state } of engine.client.schedule.list())
    if (ours(scheduleId, inventory.name) && state.paused && state.note === pauseNote(stop))
      await engine.client.schedule.getHandle(scheduleId).unpause(`resumed by ${by}`);
  await engine.client.workflow.getHandle(stopId(inventory.name)).signal('resume', by);
  return true;
}

/** Whether everything is stopped, and by whom. */
export const currentStop = async ({ engine, taskQueue, inventory }: Reach): Promise<Stop | undefined> =>
  ledgerOf(engine.client, taskQueue, inventory.name).stopped();

async function pauseSchedules({ engine, inventory }: Reach, stop: Stop): Promise<Stopped[]> {
  const paused: Stopped[] = [];
  for await (const { scheduleId, state } of engine.client.schedule.list()) {
    if (!ours(scheduleId, inventory.name) || state.paused) continue;
    await engine.client.schedule.getHandle(scheduleId).pause(pauseNote(stop));
    paused.push({ id: scheduleId, kind: 'schedule', outcome: 'paused', says: '', proof: [] });
  }
  return paused;
}

const pauseNote = ({ by, at }: Stop): string => `stopped by ${by} at ${new Date(at).toISOString()}`;
const ours = (scheduleId: string, inventory: string): boolean => scheduleId.startsWith(`audit/${inventory}/`);

async function ofThisInventory({ engine, taskQueue }: Reach): Promise<{ workflowId: string; kind: string }[]> {
  const types = kinds.map((kind) => `"${kind}"`).join(', ');
  const query = `WorkflowType IN (${types}) AND TaskQueue = "${taskQueue}" AND ExecutionStatus = "Running"`;
  const found: { workflowId: string; kind: string }[] = [];
  for await (const { workflowId, type } of engine.client.workflow.list({ query }))
    found.push({ workflowId, kind: type });
  return found.toSorted((a, b) => kinds.indexOf(a.kind) - kinds.indexOf(b.kind));
}

function gone(error: unknown): void {
  if (!isGone(error)) throw error;
}
