import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { WorkflowHandle } from '@temporalio/client';
import type { temporal as api } from '@temporalio/proto';
import { stringify } from 'yaml';
import type { Session } from '../cli/session.ts';
import { decide } from '../client/plans.ts';
import { knownRuns } from '../client/runs.ts';
import { newRun, startDiagnosis } from '../client/start.ts';
import { currentStop, resumeEverything, stopEverything } from '../client/stop.ts';
import { changeId } from '../domain/runs.ts';
import * as guard from '../nodes/operations/guard.ts';
import { ShellPool } from '../nodes/shells/pool.ts';
import { type Command, Commands } from './support/commands.ts';
import { deadCluster } from './support/dead-cluster.ts';
import { Namespaces, real } from './support/machine.ts';
import { Pair } from './support/pair.ts';
import { freePort } from './support/port.ts';
import { Person, Road, approvalBy, diagnosed, planned } from './support/road.ts';
import { Temporal } from './support/temporal.ts';
import { until } from './support/until.ts';

type Event = api.api.history.v1.IHistoryEvent;

const namespaces = new Namespaces();
const commands = new Commands();
const alice = new Person('alice');
const reason = 'loss got worse';
let road: Road;
let pair: Pair;
let session: Session;

const undrop = (...words: string[]): Command => commands.start([...words, '-i', road.file(pair.inventory)]);
const stop = (...words: string[]): Command => undrop('stop', '--reason', reason, ...words);
async function worker(): Promise<Command> {
  const started = undrop('worker');
  await started.says('working on');
  return started;
}
async function killed(command: Command): Promise<void> {
  command.kill('SIGKILL');
  await command.ended;
}
/** A diagnosis that was asked for; whether somebody works on it is another matter. */
const queued = async (): Promise<WorkflowHandle> =>
  startDiagnosis(session, newRun(), { target: pair.target, requester: 'alert', windowMs: 1000, propose: false });

real(
  'ip',
  'flock',
  'python3',
  'sysctl',
)('undrop stop', () => {
  afterAll(() => namespaces.remove());

  describe('with the embedded server', () => {
    beforeAll(async () => {
      road = new Road();
      await road.open();
      pair = await Pair.make(namespaces, 'stop', approvalBy([alice]));
      session = await road.session(pair.inventory, false);
    }, 60_000);
    afterAll(async () => {
      await commands.end();
      await road.close();
    }, 60_000);

    test('reverts with proof the change of a worker that was killed', async () => {
      const doomed = await worker();
      await pair.break();
      const { handle, signed } = await planned(session, await diagnosed(session, pair.target));
      await decide(handle, alice.decides(handle.workflowId, signed.digest));
      await until('it is applied', () => pair.threshold() !== 3000, 60_000);
      await killed(doomed);
      const waiting = await queued();

      const stopping = stop();
      expect(await stopping.ended).toBe(0);
      // The command's own worker is not to begin what it is there to end.
      const { events = [] } = await waiting.fetchHistory();
      const first = (attributes: keyof Event): number => events?.findIndex((event) => event[attributes]) ?? -1;
      expect(first('workflowExecutionCancelRequestedEventAttributes')).toBeGreaterThan(0);
      expect(first('workflowTaskStartedEventAttributes')).toBeGreaterThan(first('workflowExecutionCancelRequestedEventAttributes')); // prettier-ignore
      expect(stopping.stdout).toMatch(new RegExp(`cancelled +${handle.workflowId}`));
      expect(stopping.stdout).toMatch(/reverted +change\/[^ ]+\/omega .*\n +read back: restored 0 3000\n/);
      expect(stopping.stdout).toContain('stopped  nothing new begins until `undrop resume`');
      expect(pair.threshold()).toBe(3000);
      expect((await session.engine.client.workflow.getHandle(changeId(pair.inventory.name, 'omega')).describe()).status.name).toBe('COMPLETED'); // prettier-ignore

      const diagnosing = undrop('diagnose', pair.target);
      expect(await diagnosing.ended).toBe(3);
      expect(diagnosing.stderr).toMatch(/everything was stopped by .*loss got worse/);
      const resuming = undrop('resume');
      expect(await resuming.ended).toBe(0);
      expect(await currentStop(session)).toBe(undefined);
      rmSync(`/run/undrop/${signed.plan.run}-omega-${signed.digest.slice(0, 12)}`, { recursive: true });
    }, 180_000);
  });

  describe('with a server elsewhere', () => {
    const change = { id: `t-${process.pid}-stop`, token: 'test' };
    let temporal: Temporal;
    let shells: ShellPool;
    let site: guard.Site;
    /** The line of what the node holds. */
    const holds = new RegExp(`^  \\S+: ${change.id} is not confirmed and reverts by itself at \\d{4}-.*Z$`, 'm');

    beforeAll(async () => {
      road = new Road();
      temporal = new Temporal(road.data, await freePort());
      await temporal.start();
      process.env['TEMPORAL_ADDRESS'] = temporal.address;
      await road.open();
      pair = await Pair.make(namespaces, 'away', approvalBy([alice]));
      session = await road.session(pair.inventory, false);
      shells = new ShellPool(pair.inventory);
      site = { shell: shells.changing('omega'), place: { name: 'omega' } };
      const key = 'net.ipv4.ipfrag_high_thresh';
      const before = pair.threshold();
      await guard.arm(site, change, 600, [{ kind: 'sysctl.set', key, before, after: before + 4096 }]);
    }, 60_000);
    afterEach(() => commands.end());
    afterAll(async () => {
      delete process.env['TEMPORAL_ADDRESS'];
      await guard.revert(site, change);
      await shells.close();
      rmSync(`/run/undrop/${change.id}`, { recursive: true });
      await temporal.kill();
      await road.close();
    }, 60_000);

    test('and no worker it sets the switch, cancels, and says that only the nodes revert, and which', async () => {
      const { schedule } = session.engine.client;
      await schedule.create({
        scheduleId: `audit/${pair.inventory.name}/t`,
        spec: { intervals: [{ every: '1h' }] },
        action: { type: 'startWorkflow', workflowType: 'audit', taskQueue: session.taskQueue, args: [] },
      });
      const waiting = await queued();
      const stopping = stop();
      expect(await stopping.ended).toBe(3);
      expect(await currentStop(session)).toMatchObject({ reason });
      expect((await schedule.getHandle(`audit/${pair.inventory.name}/t`).describe()).state.paused).toBe(true);
      const { events = [] } = await waiting.fetchHistory();
      expect(events?.some((event) => event.workflowExecutionCancelRequestedEventAttributes)).toBe(true);
      expect(stopping.stdout).toMatch(
        new RegExp(`open +${waiting.workflowId} +no worker is there; what its node holds`),
      );
      expect(stopping.stdout).toContain('stopped  nothing new begins until `undrop resume`');
      expect(stopping.stdout).toMatch(/no worker for this inventory at .*`undrop worker`/);
      expect(stopping.stdout).toMatch(holds);
      expect(stopping.stdout).not.toContain('no node holds');
    }, 60_000);

    test('and no worker a cancel and a resume leave their word, and say that it is carried out later', async () => {
      const waiting = await queued();
      const run = waiting.workflowId.replace('diagnose/', '');
      await until('it is listed', async () => (await knownRuns(session)).some((one) => one.run === run));
      const cancelling = undrop('cancel', run);
      expect(await cancelling.ended).toBe(3);
      expect(cancelling.stdout).toMatch(
        /^diagnose\/\S+: cancelled; it ends when a worker is there\nno worker for this inventory at .*only nodes' own timers/,
      );
      const { events = [] } = await waiting.fetchHistory();
      expect(events?.some((event) => event.workflowExecutionCancelRequestedEventAttributes)).toBe(true);
      const resuming = undrop('resume');
      expect(await resuming.ended).toBe(3);
      expect(resuming.stdout).toMatch(/^the stop is to end, .* begin after that\nno worker for this inventory at /);
      expect(await currentStop(session)).toMatchObject({ reason });
      await stopEverything(session, { by: 'erin', reason, at: Date.now() }, () => {});
    }, 60_000);

    test('a stop after a resume that no worker has heard of yet holds; before it, the first to stop is named', async () => {
      const first = await currentStop(session);
      await stopEverything(session, { by: 'bob', reason: 'again', at: Date.now() }, () => {});
      expect(await currentStop(session)).toEqual(first);
      expect(await resumeEverything(session, 'carol')).toBe(true);
      await stopEverything(session, { by: 'dora', reason: 'no, still', at: Date.now() }, () => {});
      expect(await currentStop(session)).toMatchObject({ by: 'dora' });
      const waiting = await queued();
      const started = await worker();
      await expect(waiting.result()).rejects.toMatchObject({
        cause: { cause: { message: expect.stringMatching(/everything was stopped by dora .*no, still/) } },
      });
      expect(await currentStop(session)).toMatchObject({ by: 'dora' });
      const again = stop();
      expect(await again.ended).toBe(0);
      expect(again.stdout).toContain('stopped  nothing new begins');
      expect(again.stdout).not.toContain('no worker');
      await killed(started);
    }, 60_000);

    test('that dies meanwhile it says what remains', async () => {
      // For a while the server takes the worker that was killed for alive, so that the command waits for it.
      const waiting = await queued();
      const stopping = stop('--json');
      await until('it is cancelled', async () => {
        const { events } = await waiting.fetchHistory();
        return events?.some((event) => event.workflowExecutionCancelRequestedEventAttributes);
      }, 30_000); // prettier-ignore
      await temporal.kill();
      expect(await stopping.ended).toBe(3);
      expect(JSON.parse(stopping.stdout)).toMatchObject({
        stopped: true,
        worker: true,
        done: expect.arrayContaining([expect.objectContaining({ id: waiting.workflowId, outcome: 'open' })]),
        held: [expect.objectContaining({ id: change.id })],
        unseen: [],
      });
    }, 90_000);

    test('that is away it says that nothing was stopped, and what nodes hold', async () => {
      const stopping = stop();
      expect(await stopping.ended).toBe(3);
      expect(stopping.stdout).toMatch(/^not stopped {2}.* cannot be reached/);
      expect(stopping.stdout).toMatch(holds);
      expect(stopping.stdout).not.toContain('nobody can start');
    }, 60_000);

    test('and a cluster whose nodes cannot be listed, it says that none was looked at', async () => {
      const kubeconfig = await deadCluster(road.data);
      const file = join(road.data, 'cluster.yaml');
      writeFileSync(file, stringify({ name: 'clinic', kubernetes: { kubeconfig } }));
      const stopping = commands.start(['stop', '--reason', reason, '-i', file]);
      expect(await stopping.ended).toBe(3);
      expect(stopping.stdout).toMatch(
        /\n {2}every node: not looked at \(.*ECONNREFUSED.*\); a node's own timer reverts/,
      );
      expect(stopping.stdout).not.toContain('no node holds');
    }, 60_000);
  });
});
