import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { WorkflowHandle } from '@temporalio/client';
import type { Session } from '../cli/session.ts';
import { resumeEverything, stopEverything } from '../client/stop.ts';
import { type IncidentInput, type IncidentProgress, type IncidentRun, type Problem, dueAt, incidentId, joinMs, retryMs, seenBefore } from '../domain/incident.ts'; // prettier-ignore
import type { DiagnoseProgress } from '../domain/runs.ts';
import { record, replayed } from './support/histories.ts';
import { Namespaces, real } from './support/machine.ts';
import { Pair } from './support/pair.ts';
import { Road } from './support/road.ts';
import { until } from './support/until.ts';

describe('when another diagnosis is due', () => {
  const told = 1_000_000;
  const ended = told + 5_000;
  const problem = (more: Partial<Problem> = {}): Problem => ({ source: 's', problem: 'p', status: 'firing', title: '', since: told, last: told, times: 1, ...more }); // prettier-ignore
  const run = (more: Partial<IncidentRun> = {}): IncidentRun => ({ run: 'r', started: told, ended, ...more });
  const [good, bad, stopped] = [run({ says: 'it is' }), run({ failed: 'no node' }), run({ failed: 'stopped', stopped: true })]; // prettier-ignore
  const [first = 0, second = 0, third = 0] = retryMs;

  test.each<[string, number | undefined, Problem[], IncidentRun[]]>([
    ['nothing is reported', undefined, [], []],
    ['nothing was looked at', 0, [problem()], []],
    ['it is resolved', undefined, [problem({ status: 'resolved' })], []],
    ['one is in progress', undefined, [problem()], [{ run: 'r', started: told }]],
    ['one has ended', undefined, [problem()], [good]],
    ['something was reported long after that', 0, [problem({ last: ended + joinMs + 1 })], [good]],
    ['it failed once', ended + first, [problem()], [bad]],
    ['it failed, and all is resolved', undefined, [problem({ status: 'resolved' })], [bad]],
    ['it failed twice', ended + second, [problem()], [bad, bad]],
    ['it failed three times', ended + third, [problem()], [bad, bad, bad]],
    ['it failed as often as it is tried', undefined, [problem()], [bad, bad, bad, bad]],
    ['long after the last of these something was reported', 0, [problem({ last: ended + joinMs + 1 })], [bad, bad, bad, bad]],
    ['it failed before one that went well', ended + first, [problem()], [bad, bad, good, bad]],
    ['a stop refused it', ended + first, [problem()], [stopped]],
    ['a stop refused it after the last attempt', ended + first, [problem()], [bad, bad, bad, bad, stopped]],
    ['it fails after a stop, which was no attempt', ended + first, [problem()], [stopped, stopped, bad]],
  ])('%s', (_, due, problems, runs) => expect(dueAt(problems, runs)).toBe(due)); // prettier-ignore
});

describe('a delivery', () => {
  const taken = (id: string, received: number) => ({ id, received, rememberMs: 60_000 });

  test.each<[string, ReturnType<typeof taken>, number, boolean]>([
    ['comes again at once', taken('d', 0), 10, true],
    ['is sent again within the time that it is remembered', taken('d', 50_000), 50_000, true],
    ['is carried out again much later, since nobody noted that it was', taken('d', 0), 3_600_000, true],
    ['is sent again after the time that it is remembered', taken('d', 70_000), 70_000, false],
    ['is another', taken('e', 10), 10, false],
  ])('that %s', (_, origin, now, before) => {
    const seen = {};
    expect(seenBefore(seen, taken('d', 0), 0)).toBe(false);
    expect(seenBefore(seen, origin, now)).toBe(before);
    expect(seenBefore(seen, origin, now)).toBe(true);
  });
});

const namespaces = new Namespaces();
let road: Road;
let session: Session;
let pair: Pair;

/** What a sender that tells once says of a target. */
async function opened(target: string, windowMs = 300, carried?: IncidentInput['carried']): Promise<WorkflowHandle> {
  const { name } = session.inventory;
  const input: IncidentInput = { inventory: name, target, requester: 'alert', windowMs, propose: false, atOnce: 2, retryMs: [300, 400], visible: session.engine.visible, ...(carried && { carried }) }; // prettier-ignore
  const origin = { id: 'd1', received: Date.now(), rememberMs: 60_000 };
  return session.engine.client.workflow.signalWithStart('incident', {
    workflowId: incidentId(name, target),
    taskQueue: session.taskQueue,
    args: [input],
    signal: 'report',
    signalArgs: [[{ origin, reports: [{ source: 's', problem: 'p', status: 'firing', title: 'udp' }] }]],
  });
}
/** The workflow of the incident's diagnosis, which sends by now. */
async function looking(handle: WorkflowHandle): Promise<WorkflowHandle> {
  return until('it is looked at', async () => {
    const run = (await runsOf(handle)).at(-1);
    if (!run || run.ended !== undefined) return undefined;
    const diagnosis = session.engine.client.workflow.getHandle(`diagnose/${run.run}`);
    const { phase } = await diagnosis.query<DiagnoseProgress>('progress').catch(() => ({ phase: 'starting' }));
    return phase === 'observing' ? diagnosis : undefined;
  }, 30_000); // prettier-ignore
}
const runsOf = async (handle: WorkflowHandle): Promise<IncidentRun[]> =>
  (await handle.query<IncidentProgress>('progress')).runs;

real('ip', 'sysctl')('an incident whose diagnosis fails', () => {
  beforeAll(async () => {
    road = new Road();
    await road.open();
    pair = await Pair.make(namespaces, 'incident');
    session = await road.session(pair.inventory);
  }, 60_000);
  afterAll(async () => {
    await road.close();
    namespaces.remove();
  }, 60_000);

  test('is looked at again while it fires, after growing pauses, and not for ever', async () => {
    const handle = await opened('alpha->nobody');
    const runs = await until('it is given up', async () => {
      const all = await runsOf(handle);
      return all.length > 2 && all.at(-1)?.ended !== undefined ? all : undefined;
    }, 30_000); // prettier-ignore
    expect(runs.map(({ failed }) => failed)).toEqual(Array(3).fill(expect.stringContaining('nobody')));
    const pauses = runs.slice(1).map(({ started }, at) => started - (runs[at]?.ended ?? 0));
    expect(pauses[0]).toBeGreaterThanOrEqual(300);
    expect(pauses[1]).toBeGreaterThanOrEqual(400);
    // It waits for what is reported next, for hours.
    const { events } = await handle.fetchHistory();
    const wait = events?.findLast(({ timerStartedEventAttributes: timer }) => timer);
    expect(Number(wait?.timerStartedEventAttributes?.startToFireTimeout?.seconds)).toBeGreaterThan(3600);
  }, 60_000);

  test('because everything was stopped is looked at when it is resumed, and leaves no run each time that it waits', async () => {
    await stopEverything(session, { by: 'alice', reason: 'a test', at: Date.now() }, () => {});
    const handle = await opened(pair.target);
    const asked = async (): Promise<number> =>
      (await handle.fetchHistory()).events?.filter(
        ({ activityTaskScheduledEventAttributes: one }) => one?.activityType?.name === 'isStopped',
      ).length ?? 0;
    await until('it has asked more than twice', async () => (await asked()) > 2, 30_000);
    expect(await runsOf(handle)).toEqual([
      expect.objectContaining({ stopped: true, failed: expect.stringContaining('everything was stopped by alice') }),
    ]);
    expect(await resumeEverything(session, 'bob')).toBe(true);
    const runs = await until('it was looked at', async () => {
      const all = await runsOf(handle);
      return all.at(-1)?.says === undefined ? undefined : all;
    }, 60_000); // prettier-ignore
    expect(runs).toEqual([expect.objectContaining({ stopped: true }), expect.objectContaining({ kind: 'no-loss' })]);
  }, 120_000);

  test('of which somebody cancels a diagnosis stays open, and does not begin it again by itself', async () => {
    const handle = await opened('omega->alpha', 20_000);
    await (await looking(handle)).cancel();
    const runs = await until('it has ended', async () => {
      const all = await runsOf(handle);
      return all[0]?.ended === undefined ? undefined : all;
    }, 30_000); // prettier-ignore
    expect(runs).toEqual([expect.objectContaining({ says: 'it was cancelled' })]);
    const { phase } = await until('it waits', async () => {
      const now = await handle.query<IncidentProgress>('progress');
      return now.phase === 'open' ? now : undefined;
    });
    expect(phase).toBe('open');
    expect((await handle.describe()).status.name).toBe('RUNNING');
    const { events } = await handle.fetchHistory();
    const wait = events?.findLast(({ timerStartedEventAttributes: timer }) => timer);
    expect(Number(wait?.timerStartedEventAttributes?.startToFireTimeout?.seconds)).toBeGreaterThan(3600);
    await handle.cancel();
    await expect(handle.result()).rejects.toMatchObject({ cause: { name: 'CancelledFailure' } });
  }, 60_000);

  test('whose diagnosis a stop has cancelled is looked at when it is resumed', async () => {
    const handle = await opened('omega->alpha', 20_000);
    await looking(handle);
    await stopEverything(session, { by: 'alice', reason: 'a test', at: Date.now() }, () => {});
    const stopped = await until('it was cancelled', async () => {
      const all = await runsOf(handle);
      return all[0]?.ended === undefined ? undefined : all;
    }, 30_000); // prettier-ignore
    expect(stopped).toEqual([expect.objectContaining({ stopped: true, failed: 'it was cancelled' })]);
    expect(await resumeEverything(session, 'bob')).toBe(true);
    await (await looking(handle)).cancel();
    await handle.cancel();
    await expect(handle.result()).rejects.toMatchObject({ cause: { name: 'CancelledFailure' } });
  }, 60_000);

  test('is not looked at again while a plan of it waits, and is once that has ended', async () => {
    const { client } = session.engine;
    // Nobody works on this queue: it stays open until it is terminated.
    const plan = await client.workflow.start('remediate', { workflowId: 'remediate/waits', taskQueue: 'nobody' });
    const ended = Date.now() - 2 * joinMs;
    const before: IncidentRun = {
      run: 'before',
      started: ended - 1,
      ended,
      says: 'it is',
      remediation: plan.workflowId,
    };
    const handle = await opened('omega->alpha', 300, { problems: [], runs: [{ ...before }] });
    const asked = async (): Promise<number> =>
      (await handle.fetchHistory()).events?.filter((event) => event.activityTaskCompletedEventAttributes).length ?? 0;
    await until('it has asked twice', async () => (await asked()) > 1, 30_000);
    expect(await runsOf(handle)).toEqual([before]);
    await plan.terminate();
    // What was told once meanwhile is not forgotten.
    await until('it is looked at', async () => (await runsOf(handle)).length === 2, 30_000);
    await handle.cancel();
    await expect(handle.result()).rejects.toMatchObject({ cause: { name: 'CancelledFailure' } });
  }, 60_000);

  test('every history of these tests replays against the workflows as they are', async () => {
    const histories = [];
    for await (const { workflowId, runId } of session.engine.client.workflow.list())
      if (/^(incident|turns|stopped)\//.test(workflowId)) {
        const history = await session.engine.client.workflow.getHandle(workflowId, runId).fetchHistory();
        histories.push({ workflowId, history });
      }
    expect(histories.length).toBeGreaterThan(3);
    expect(await replayed(histories)).toEqual([]);
    if (process.env['UNDROP_RECORD']) record(histories);
  });
});
