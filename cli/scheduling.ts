import { setTimeout as sleep } from 'node:timers/promises';
import {
  type ScheduleDescription,
  type ScheduleHandle,
  ScheduleNotFoundError,
  ScheduleOverlapPolicy,
} from '@temporalio/client';
import type { AuditInput, AuditResult } from '../domain/audit.ts';
import { taskTimeout } from '../client/start.ts';
import { millisecondsOf } from './duration.ts';
import { UserError, exit } from './output.ts';
import type { Session } from './session.ts';

/** What was missed while the server was away is caught up only this far back: an old audit tells nothing that a new one does not. */
const catchupWindow = '10m';
const answerMs = 10_000;

export interface Rhythm {
  every?: string | undefined;
  cron?: string | undefined;
  jitter?: string | undefined;
}

/** Schedules of audits of one inventory. Their names are the last part of their ids. */
export const idOf = ({ inventory }: Session, name: string): string => {
  if (!/^[A-Za-z0-9][A-Za-z0-9-]{0,31}$/.test(name))
    throw new UserError(`"${name}" is no name of a schedule: letters, digits and dashes, at most 32`);
  return `audit/${inventory.name}/${name}`;
};

/**
 * @param applied digest of what a list says of it (`schedule apply`)
 * @param state whether it begins paused, and why
 * @throws UserError when it is no rhythm, or there is a schedule of this name already
 */
export async function createSchedule(
  session: Session,
  name: string,
  rhythm: Rhythm,
  input: AuditInput,
  { applied, state = {} }: { applied?: string; state?: { paused?: boolean; note?: string } } = {},
): Promise<ScheduleHandle> {
  const { every, cron, jitter } = rhythm;
  if ((every === undefined) === (cron === undefined)) throw new UserError('give either --every, such as 1h, or --cron');
  const { engine, taskQueue, inventory } = session;
  try {
    return await engine.client.schedule.create({
      scheduleId: idOf(session, name),
      spec: {
        ...(every !== undefined && { intervals: [{ every: millisecondsOf('--every', every, ['1s', '400d']) }] }),
        ...(cron !== undefined && { cronExpressions: [cron] }),
        jitter: jitter === undefined ? 0 : millisecondsOf('--jitter', jitter, ['1s', '400d']),
      },
      action: {
        type: 'startWorkflow',
        workflowType: 'audit',
        workflowId: idOf(session, name),
        taskQueue,
        args: [input],
        workflowTaskTimeout: taskTimeout,
        staticSummary: `audit of ${inventory.name}`,
      },
      policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow, pauseOnFailure: false },
      state,
      memo: { rhythm: cron ?? `every ${every}`, ...(applied !== undefined && { applied }) },
    });
  } catch (error) {
    if (error instanceof Error && error.name === 'ScheduleAlreadyRunning')
      throw new UserError(`there is a schedule ${name} already: undrop schedule delete ${name} removes it`);
    const why = error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error);
    throw new UserError(`the server does not take this schedule: ${why.replace(/^\d+ INVALID_ARGUMENT: /, '')}`);
  }
} // prettier-ignore

export const rhythmOf = (memo: Record<string, unknown> | undefined): string =>
  typeof memo?.['rhythm'] === 'string' ? memo['rhythm'] : '';

/** Digest of what a list said of a schedule when it was made; undefined for one that somebody made by hand. */
export const appliedOf = (memo: Record<string, unknown> | undefined): string | undefined =>
  typeof memo?.['applied'] === 'string' ? memo['applied'] : undefined;

export interface KnownSchedule {
  name: string;
  applied: string | undefined;
  rhythm: string;
  paused: boolean;
  note: string;
  next: Date | undefined;
  last: Date | undefined;
}

export async function schedules({ engine, inventory }: Session): Promise<KnownSchedule[]> {
  const prefix = `audit/${inventory.name}/`;
  const found: KnownSchedule[] = [];
  for await (const { scheduleId, memo, state, info } of engine.client.schedule.list()) {
    if (!scheduleId.startsWith(prefix)) continue;
    found.push({
      name: scheduleId.slice(prefix.length),
      applied: appliedOf(memo),
      rhythm: rhythmOf(memo),
      paused: state.paused,
      note: state.note ?? '',
      next: info.nextActionTimes[0],
      last: info.recentActions.at(-1)?.takenAt,
    });
  }
  return found.toSorted((a, b) => a.name.localeCompare(b.name));
}

/** The schedule of this name. @throws UserError when there is none */
export async function scheduleOf(session: Session, name: string): Promise<{ handle: ScheduleHandle; is: ScheduleDescription }> {
  const handle = session.engine.client.schedule.getHandle(idOf(session, name));
  try {
    return { handle, is: await handle.describe() };
  } catch (error) {
    if (!(error instanceof ScheduleNotFoundError)) throw error;
    const others = (await schedules(session)).map((one) => one.name);
    throw new UserError(`there is no schedule ${name}; ${others.length ? `there is: ${others.join(', ')}` : 'there are none'}`);
  }
} // prettier-ignore

/** Runs it now, unless an audit of it is in progress. @returns the workflow's id; undefined where it was skipped */
export async function trigger(session: Session, name: string): Promise<string | undefined> {
  const { handle, is: before } = await scheduleOf(session, name);
  // Named here: the server's own default for a trigger is to start another one beside it.
  await handle.trigger(ScheduleOverlapPolicy.SKIP);
  for (const until = Date.now() + answerMs; Date.now() < until; await sleep(50)) {
    const { info } = await handle.describe();
    if (info.numActionsSkippedOverlap > before.info.numActionsSkippedOverlap) return undefined;
    const last = info.recentActions.at(-1);
    if (info.numActionsTaken > before.info.numActionsTaken && last?.action.type === 'startWorkflow')
      return last.action.workflow.workflowId;
  }
  throw new UserError(`the server has not started it within ${answerMs / 1000} s`, exit.failed);
}

export interface PastAudit {
  id: string;
  at: Date;
  status: string;
  says: string;
}

/** The last audits of a schedule, the newest first. */
export async function pastAudits({ engine }: Session, { info }: ScheduleDescription): Promise<PastAudit[]> {
  return Promise.all(
    info.recentActions.toReversed().map(async ({ action, takenAt }): Promise<PastAudit> => {
      const id = action.type === 'startWorkflow' ? action.workflow.workflowId : '';
      const handle = engine.client.workflow.getHandle(id);
      const status = await handle.describe().then(({ status: is }) => is.name.toLowerCase(), () => 'gone'); // prettier-ignore
      const says = status === 'completed' ? ((await handle.result()) as AuditResult).says : '';
      return { id, at: takenAt, status, says };
    }),
  );
}
