import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { WorkflowHandle } from '@temporalio/client';
import { stringify } from 'yaml';
import { newRun, startDiagnosis } from '../client/start.ts';
import { decide } from '../client/plans.ts';
import { followRemediation } from '../cli/remediating.ts';
import type { Session } from '../cli/session.ts';
import type { DiagnoseProgress, DiagnoseResult } from '../domain/runs.ts';
import { type Command, Commands } from './support/commands.ts';
import { Namespaces, real } from './support/machine.ts';
import { Pair } from './support/pair.ts';
import { Person, Road, diagnosed, planned } from './support/road.ts';
import { processesWith, until } from './support/until.ts';

const home = '/run/undrop';
const dana = new Person('dana');
const approval = { approvers: [dana.approver] };
const namespaces = new Namespaces();
const commands = new Commands();
const runs: string[] = [];
/** Everything here is done by processes of their own; this one only asks and looks. */
let road: Road;
let pair: Pair;
let session: Session;

const file = ({ inventory }: Pair): string => {
  const path = join(road.data, `${inventory.name}.yaml`);
  writeFileSync(path, stringify(inventory));
  return path;
};
async function worker(of: Pair): Promise<Command> {
  const started = commands.start(['worker', '-i', file(of)]);
  await started.says('working on');
  return started;
}
const undrop = (...words: string[]): Command => commands.start([...words, '-i', file(pair)]);

/** The folder on the node of a run's change; undefined until it is armed. */
const folder = (run: string): string | undefined =>
  readdirSync(home).map((name) => join(home, name)).find((path) => path.startsWith(join(home, `${run}-`))); // prettier-ignore
/** What the node noted of a run's change, without the times. */
const journal = (run: string): string[] => {
  const path = join(folder(run) ?? '', 'journal');
  if (!existsSync(path)) return [];
  return readFileSync(path, 'utf8').trim().split('\n').map((entry) => entry.replace(/^\S+ /, '')); // prettier-ignore
};
const applied = 'apply 0 sysctl net.ipv4.ipfrag_high_thresh';

/** Goes until the node has just begun to apply a change. @param planReady is awaited before the plan is approved */
async function amidChange(
  of: Pair,
  asked: Session,
  planReady: () => Promise<void> = async () => {},
): Promise<{ run: string; handle: WorkflowHandle }> {
  await of.break();
  const diagnosis = await diagnosed(asked, of.target);
  expect(diagnosis).toMatchObject({ kind: 'explained', roots: [of.root] });
  runs.push(diagnosis.run);
  const { handle, signed } = await planned(asked, diagnosis);
  await planReady();
  await decide(handle, dana.decides(handle.workflowId, signed.digest));
  const begun = async (): Promise<boolean> => {
    if (journal(diagnosis.run).includes(applied)) return true;
    if ((await handle.describe()).status.name === 'RUNNING') return false;
    throw new Error(`it ended: ${JSON.stringify(await handle.result())}`);
  };
  await until('the change is applied', begun, 60_000);
  return { run: diagnosis.run, handle };
}

/** Goes until a diagnosis has taken its first steps. */
async function amidDiagnosis(): Promise<WorkflowHandle> {
  await pair.break();
  const run = newRun();
  const input = { target: pair.target, requester: 'alert', windowMs: 1000, propose: false };
  const handle = await startDiagnosis(session, run, input);
  const steps = async (): Promise<number> => (await handle.query<DiagnoseProgress>('progress')).steps.length;
  await until('it has taken two steps', async () => (await steps().catch(() => 0)) > 1, 60_000);
  return handle;
}

const server = (): number[] => processesWith(join(road.data, 'temporal.db'));
const keeper = (): number[] => processesWith(`keeper.ts\0${road.data}`);
const kill = (...pids: number[]): void => pids.forEach((pid) => process.kill(pid, 'SIGKILL'));
const quiet = (of: Pair): Promise<unknown> =>
  until('the node is left alone', () => of.processes().length === 0, 15_000);

real(
  'ip',
  'flock',
  'python3',
  'sysctl',
)('after a crash', () => {
  /** A change whose worker was killed for good, long before the tests look at it again. */
  let left: { pair: Pair; run: string; handle: WorkflowHandle; session: Session; amid: number; deadline: number };

  beforeAll(async () => {
    road = new Road();
    await road.open();
    pair = await Pair.make(namespaces, 'crash', approval);
    session = await road.session(pair.inventory, false);
    const other = await Pair.make(namespaces, 'left', approval);
    const asked = await road.session(other.inventory, false);
    const doomed = await worker(other);
    const change = await amidChange(other, asked);
    const amid = await until('it is set', () => other.threshold() !== 3000).then(() => other.threshold());
    kill(doomed.pid);
    const deadline = Date.parse(readFileSync(join(folder(change.run) ?? '', 'deadline'), 'utf8').trim());
    left = { ...change, pair: other, session: asked, amid, deadline };
  }, 120_000);
  afterEach(async () => commands.end());
  afterAll(async () => {
    await commands.end();
    namespaces.remove();
    for (const run of runs) rmSync(folder(run) ?? '', { recursive: true, force: true });
    await road.close();
  }, 60_000);

  test('of worker and server amid a change, it goes on and is confirmed, and was applied once', async () => {
    const first = await worker(pair);
    const { run, handle } = await amidChange(pair, session);
    kill(first.pid, ...server());
    await first.ended;
    await worker(pair);
    expect(await followRemediation(session, handle, true)).toMatchObject({ outcome: 'confirmed' });
    expect(journal(run)).toEqual(['armed', applied, 'confirmed']);
    expect(pair.threshold()).toBe(4_194_304);
    await quiet(pair);
  }, 180_000);

  test('of the server alone amid a change, a command that follows the run sees it through', async () => {
    const first = await worker(pair);
    let watching: Command | undefined;
    const { run } = await amidChange(pair, session, async () => {
      watching = undrop('watch', 'last');
      await watching.says('expires');
    });
    kill(...server());
    expect(await watching?.ended).toBe(0);
    expect(watching?.stdout).toContain('confirmed');
    expect(journal(run)).toEqual(['armed', applied, 'confirmed']);
    first.kill('SIGINT');
    expect(await first.ended).toBe(0);
    await quiet(pair);
  }, 180_000);

  test('of everything amid a change, the next command brings all back and sees it through', async () => {
    const first = await worker(pair);
    const { run } = await amidChange(pair, session);
    await road.engine.close();
    kill(first.pid, ...keeper(), ...server());
    await until('nothing is left', () => server().length + keeper().length === 0);
    const watching = undrop('watch', 'last');
    expect(await watching.ended).toBe(0);
    expect(watching.stdout).toContain('confirmed');
    expect(journal(run)).toEqual(['armed', applied, 'confirmed']);
    await quiet(pair);
    await road.open();
    session = await road.session(pair.inventory, false);
  }, 180_000);

  test('of worker and server amid a diagnosis, it comes to its conclusion', async () => {
    const first = await worker(pair);
    const handle = await amidDiagnosis();
    kill(first.pid, ...server());
    await worker(pair);
    const { roots } = (await handle.result()) as DiagnoseResult;
    expect(roots).toEqual([pair.root]);
    await quiet(pair);
  }, 120_000);

  test('of the command that diagnoses, its run is listed as running and can be watched to its end', async () => {
    await pair.break();
    const first = undrop('diagnose', pair.target);
    await first.says('steady');
    kill(first.pid);
    await quiet(pair);
    const listing = undrop('runs', '-n', '1');
    expect(await listing.ended).toBe(0);
    expect(listing.stdout).toMatch(/ alpha->omega +running\n$/);
    const watching = undrop('watch', 'last');
    expect(await watching.ended).toBe(1);
    expect(watching.stdout).toContain('proved  FRAG-REASM at omega');
    await quiet(pair);
  }, 120_000);

  test('of the worker for good, the node puts the value back by itself in time, and the run says so later', async () => {
    expect(left.amid).toBe(4_194_304);
    const wait = left.deadline - Date.now() + 10_000;
    expect(wait).toBeLessThan(120_000);
    await until('it is put back', () => left.pair.threshold() === 3000, Math.max(wait, 0));
    await until('it is noted', () => journal(left.run).length > 3);
    expect(journal(left.run)).toEqual(['armed', applied, 'the timer reverts: nobody confirmed in time', 'reverted']);
    const times = readFileSync(join(folder(left.run) ?? '', 'journal'), 'utf8').match(/^\S+(?= reverted$)/m);
    expect(Math.abs(Date.parse(times?.[0] ?? '') - left.deadline)).toBeLessThan(5_000);
    await quiet(left.pair);
    await worker(left.pair);
    const handle = road.engine.client.workflow.getHandle(left.handle.workflowId);
    const result = await followRemediation({ ...left.session, engine: road.engine }, handle, true);
    expect(result).toMatchObject({ outcome: 'reverted', changes: [{ proof: ['restored 0 3000'] }] });
    expect(left.pair.threshold()).toBe(3000);
  }, 240_000);
});
