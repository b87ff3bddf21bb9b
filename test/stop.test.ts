import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { heldOnNodes } from '../cli/held.ts';
import type { Session } from '../cli/session.ts';
import { decide } from '../client/plans.ts';
import { newRun, startDiagnosis } from '../client/start.ts';
import { currentStop, resumeEverything, stopEverything } from '../client/stop.ts';
import { type ChangeProgress, type DiagnoseResult, changeId } from '../domain/runs.ts';
import { faultNamed, labInventory, namespaceState } from '../lab/lab.ts';
import { real } from './support/machine.ts';
import { LabRoad } from './support/lab-road.ts';
import { Person, approvalBy, diagnosed, planned } from './support/road.ts';
import { until } from './support/until.ts';

const fault = faultNamed('broken-tx-checksum');
const [alice, bob] = [new Person('alice'), new Person('bob')];
const inventory = { ...labInventory('netns'), approval: approvalBy([alice, bob]) };
const stop = { by: 'alice', reason: 'loss got worse', at: Date.now() };

let road: LabRoad;
let session: Session;
let diagnosis: DiagnoseResult;
/** What the machine held before: a run that was killed may have left journals whose namespaces are gone. */
let before: string[] = [];
let old = '';
/** What nodes hold since this file began. */
async function heldNow(): ReturnType<typeof heldOnNodes> {
  const { held, unseen } = await heldOnNodes(inventory);
  return { held: held.filter(({ id }) => !before.includes(id)), unseen };
}
const offloads = (): string => namespaceState('h1');

/** What the change in progress at h1 has done so far. */
const stages = async (): Promise<string> =>
  session.engine.client.workflow
    .getHandle(changeId(inventory.name, 'h1'))
    .query<ChangeProgress>('progress')
    .then(
      (progress) => progress.stages.map(({ says }) => says).join('\n'),
      () => '',
    );

real(
  'ip',
  'ethtool',
  'iptables',
)('stopping everything', () => {
  beforeAll(async () => {
    road = new LabRoad('netns');
    session = await road.begin(inventory);
    before = (await heldOnNodes(inventory)).held.map(({ id }) => id);
    old = offloads();
    await road.breaks(fault.id);
    diagnosis = await diagnosed(session, fault.target, bob.name);
  }, 120_000);
  afterAll(() => road.close(), 60_000);

  test('a change in progress is reverted with proof, a waiting plan is closed, and schedules pause', async () => {
    await session.engine.client.schedule.create({
      scheduleId: `audit/${inventory.name}/t`,
      spec: { intervals: [{ every: '1h' }] },
      action: { type: 'startWorkflow', workflowType: 'audit', taskQueue: session.taskQueue, args: [] },
    });
    const { handle, signed } = await planned(session, diagnosis, bob.name);
    await decide(handle, alice.decides(handle.workflowId, signed.digest));
    await until('it is applied', async () => (await stages()).includes('on -> off'), 30_000);
    expect(offloads()).not.toBe(old);
    // Whoever cannot reach the engine in this moment can still ask the nodes.
    const { held, unseen } = await heldNow();
    expect(unseen).toEqual([]);
    expect(held).toEqual([
      { node: expect.any(String), id: expect.stringContaining('-h1-'), deadline: expect.stringMatching(/^\d{4}-.*Z$/) },
    ]);

    const done = await stopEverything(session, stop, () => {});
    expect(done).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ id: `audit/${inventory.name}/t`, outcome: 'paused' }),
        expect.objectContaining({ kind: 'run', id: handle.workflowId, outcome: 'cancelled' }),
        expect.objectContaining({ kind: 'change', id: changeId(inventory.name, 'h1'), outcome: 'reverted', proof: [expect.stringMatching(/^(restored|equal) 0 /)] }),
      ]),
    ); // prettier-ignore
    expect(offloads()).toBe(old);
    expect(await heldNow()).toEqual({ held: [], unseen: [] });
    const { state } = await session.engine.client.schedule.getHandle(`audit/${inventory.name}/t`).describe();
    expect(state).toMatchObject({ paused: true, note: expect.stringContaining('stopped by alice') });
  }, 120_000);

  test('nothing begins until somebody lets it go on, and the first to stop is who is named', async () => {
    const input = { target: fault.target, requester: 'bob', windowMs: 1000, propose: false };
    const refused = await startDiagnosis(session, newRun(), input);
    await expect(refused.result()).rejects.toMatchObject({
      cause: { cause: { message: expect.stringMatching(/everything was stopped by alice .*loss got worse.*undrop resume/) } },
    }); // prettier-ignore
    const again = await stopEverything(session, { ...stop, by: 'bob' }, () => {});
    expect(again).toEqual([]);
    expect(await currentStop(session)).toMatchObject({ by: 'alice' });

    expect(await resumeEverything(session, 'bob')).toBe(true);
    await until('it is resumed', async () => (await currentStop(session)) === undefined);
    expect(await resumeEverything(session, 'bob')).toBe(false);
    const { state } = await session.engine.client.schedule.getHandle(`audit/${inventory.name}/t`).describe();
    expect(state.paused).toBe(false);
    await session.engine.client.schedule.getHandle(`audit/${inventory.name}/t`).delete();
    expect(await diagnosed(session, fault.target, bob.name)).toMatchObject({ kind: 'explained' });
  }, 60_000);
});
