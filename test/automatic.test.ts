import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { WorkflowHandle } from '@temporalio/client';
import { decide, progressOf, rollBack } from '../client/plans.ts';
import { openBy } from '../cli/deciding.ts';
import { followRemediation } from '../cli/remediating.ts';
import { startRemediation } from '../client/start.ts';
import type { Session } from '../cli/session.ts';
import { digestOf } from '../domain/digest.ts';
import { Inventory } from '../domain/inventory.ts';
import { permitId } from '../domain/remit.ts';
import {
  type ChangeProgress,
  type ChangeResult,
  type DiagnoseResult,
  type RemediateResult,
  changeId,
} from '../domain/runs.ts';
import { faultNamed, labInventory, namespaceState } from '../lab/lab.ts';
import { record, replayed } from './support/histories.ts';
import { root } from './support/imports.ts';
import { real } from './support/machine.ts';
import { LabRoad } from './support/lab-road.ts';
import { approvalBy, diagnosed, Person, planned } from './support/road.ts';
import { until } from './support/until.ts';

/** A change waits for others here, on purpose. */
jest.setTimeout(180_000);
const fault = faultNamed('broken-tx-checksum');
const [alice, bob] = [new Person('alice'), new Person('bob')];
const remedy = 'disable-tx-checksum';

const day = (days: number): string => new Date(Date.now() + days * 86_400_000).toISOString().slice(0, 10);
const moment = (ms: number): string => new Date(Date.now() + ms).toISOString();
/** Lets the lab's remedy through by day and night. */
const automatic = {
  name: 'offload',
  mode: 'active',
  remedies: [remedy],
  causes: ['OFFLOAD-CSUM-TX'],
  nodes: ['h*'],
  targets: ['h1->*'],
  approvals: 'none',
  standing: { by: [alice.name], given: day(-1), until: day(30) },
  largest: { nodes: 1, flows: 'any', services: 'any' },
};

let road: LabRoad;
let session: Session;
let diagnosis: DiagnoseResult;
let old = '';
const offloads = (): string => namespaceState('h1');

const file = (): string => join(road.data, 'policy.yaml');
const write = (change: object = {}, more: object = {}): void =>
  writeFileSync(file(), JSON.stringify({ rules: [{ ...automatic, ...change }], ...more }));
const ended = (handle: WorkflowHandle): Promise<RemediateResult> => followRemediation(session, handle, true);

/** What the change in progress at a node says it is doing. */
const stages = async (inventory: string, node: string): Promise<string> => {
  const handle = session.engine.client.workflow.getHandle(changeId(inventory, node));
  const progress = await handle.query<ChangeProgress>('progress').catch(() => undefined);
  return progress?.stages.map(({ says }) => says).join('\n') ?? '';
};

/** Takes a permit as another change in progress would. @returns gives it back */
async function occupied(): Promise<() => Promise<void>> {
  const { client } = session.engine;
  const id = permitId(session.inventory.name, automatic.name, 0);
  const taken = await client.workflow.start('permit', { workflowId: id, taskQueue: session.taskQueue });
  return async () => {
    await taken.signal('giveBack', 'confirmed');
    await taken.result();
  };
}

real(
  'ip',
  'ethtool',
  'iptables',
  'nft',
)('standing approvals on real kernels', () => {
  beforeAll(async () => {
    road = new LabRoad('netns');
    write();
    const inventory = { ...labInventory('netns'), name: 'auto', approval: approvalBy([alice, bob]), policy: file() };
    session = await road.begin(inventory);
    old = offloads();
    await road.breaks(fault.id);
    diagnosis = await diagnosed(session, fault.target);
  }, 120_000);
  afterAll(() => road.close(), 60_000);

  test('a fault is fixed with nobody deciding; the trail says which rule let it through and why', async () => {
    write();
    const { handle, signed } = await planned(session, diagnosis);
    expect(signed.plan.policy).toMatchObject({ rule: 'offload', standing: { atOnce: 1 } });
    // Whoever objects is told what helps, and not that it was recorded.
    const { run } = signed.plan;
    const way = new RegExp(`this plan is automatic, .* rule offload, .*\`undrop cancel ${run}\``);
    const no = bob.decides(handle.workflowId, signed.digest, { decision: 'reject', reason: 'not now' });
    await expect(decide(handle, no)).rejects.toThrow(way);
    const result = await ended(handle);
    expect(result.outcome).toBe('confirmed');
    expect(result.decisions).toEqual([
      expect.objectContaining({
        decision: 'approve',
        principal: 'policy:offload',
        reason: expect.stringMatching(/standing approval of alice until .*; 1 nodes, at most 1;.* failed changes/),
      }),
      expect.objectContaining({ decision: 'reject', principal: 'bob', refused: expect.stringMatching(way) }),
    ]);
    expect(offloads()).not.toBe(old);
    const report = readFileSync(result.report ?? '', 'utf8');
    expect(report).toContain('policy:offload: approve, "standing approval of alice until');
    expect(report).toMatch(/## Policy\n\nrule offload: needs nobody/);
    await undone(handle, result);
  });

  test('a freeze that begins between plan and arm refuses it, and nothing is touched', async () => {
    const begins = moment(20_000);
    write({ freezes: [{ from: begins, to: moment(600_000), reason: 'the sale' }] });
    const free = await occupied();
    const handle = await startRemediation(session, diagnosis, 'alert');
    await until('it waits for the permit', async () => /offload are in progress: waiting/.test(await stages('auto', 'h1')), 19_000); // prettier-ignore
    await until('the freeze has begun', () => Date.now() > Date.parse(begins), 25_000);
    await free();
    const result = await ended(handle);
    expect(result).toMatchObject({ outcome: 'refused', decisions: [{ principal: 'policy:offload' }] });
    expect(result.says).toMatch(/does not hold any more: frozen until .*: the sale/);
    expect(offloads()).toBe(old);
  });

  test('an edited policy voids a plan that waits for its permit', async () => {
    write();
    const free = await occupied();
    const { handle } = await planned(session, diagnosis);
    await until('it waits for the permit', async () => /waiting/.test(await stages('auto', 'h1')), 30_000);
    write({ atOnce: 2 });
    await free();
    expect(await ended(handle)).toMatchObject({
      outcome: 'refused',
      says: expect.stringMatching(/policy was changed since the plan was made/),
    });
    expect(offloads()).toBe(old);
  });

  test('a shadow waits for people, and the report says what it would have done', async () => {
    write({ mode: 'shadow' });
    const { handle, signed } = await planned(session, diagnosis);
    const { phase, judged } = await progressOf(handle);
    expect(phase).toBe('waiting for approval');
    expect(judged).toMatchObject({ shadow: true, would: 'standing' });
    await decide(handle, alice.decides(handle.workflowId, signed.digest, { decision: 'reject', reason: 'a trial' }));
    const result = await ended(handle);
    expect(result).toMatchObject({ outcome: 'rejected', changes: [] });
    expect(readFileSync(result.report ?? '', 'utf8')).toContain(
      'shadow: rule offload would have said "needs nobody" (standing approval of alice',
    );
    expect(offloads()).toBe(old);
  });

  test('a rule of people needs its own groups, and an edited policy voids what they approved', async () => {
    const rule = { name: 'people', mode: 'active', approvals: [{ quorum: 2 }] };
    writeFileSync(file(), JSON.stringify({ rules: [rule] }));
    const { handle, signed } = await planned(session, diagnosis);
    // What `undrop approve` says that it needs is what the rule asks for, and not the inventory's quorum of one.
    expect(await openBy(session, diagnosis.run)).toMatchObject({ digest: signed.digest, needs: [{ quorum: 2 }] });
    await decide(handle, alice.decides(handle.workflowId, signed.digest));
    expect((await progressOf(handle)).phase).toBe('waiting for approval');
    writeFileSync(file(), JSON.stringify({ rules: [{ ...rule, approvals: [{ quorum: 1 }] }] }));
    await decide(handle, bob.decides(handle.workflowId, signed.digest));
    const result = await ended(handle);
    expect(result).toMatchObject({ outcome: 'refused', says: expect.stringMatching(/policy was changed/) });
    expect(offloads()).toBe(old);
  });

  test('a policy that became unreadable lets nothing through', async () => {
    writeFileSync(file(), 'rules: [');
    const handle = await startRemediation(session, diagnosis, 'alert');
    await expect(ended(handle)).rejects.toThrow(/the policy cannot be used: .*policy.yaml:1/);
    expect(offloads()).toBe(old);
  });

  test('whoever can start workflows cannot bring a plan of their own under a standing approval', async () => {
    write();
    const { handle, signed } = await planned(session, diagnosis);
    const made = await ended(handle);
    await undone(handle, made);
    const plan = { ...signed.plan, title: 'mine' };
    const input = {
      remediation: handle.workflowId,
      signed: { plan, digest: digestOf(plan) },
      index: 0,
      approvals: [],
      path: diagnosis.path,
      evidence: diagnosis.evidence,
    };
    const workflowId = changeId('auto', 'h1');
    const { taskQueue, engine } = session;
    const options = { workflowId, taskQueue, args: [input] };
    expect(await engine.client.workflow.execute('change', options)).toMatchObject({
      outcome: 'refused',
      says: 'no worker of this inventory has made this plan',
    });
    // The true one, once more: the node's journal knows it.
    const again = { ...options, args: [{ ...input, signed }] };
    const second = (await engine.client.workflow.execute('change', again)) as ChangeResult;
    expect(second).toMatchObject({ outcome: 'refused', says: expect.stringMatching(/already reverted|held by another/) }); // prettier-ignore
    expect(offloads()).toBe(old);
  });

  test('five at once under a rule of two are never more than two; when they failed, the breaker has the next wait for people', async () => {
    const other = faultNamed('random-drop');
    await road.breaks(other.id);
    try {
      const wide = await road.session(wideInventory(), true);
      writeFileSync(
        file(),
        JSON.stringify({
          breaker: { failures: 4, of: 5, cooldownMinutes: 30 },
          rules: [{ ...automatic, causes: undefined, nodes: undefined, targets: undefined, atOnce: 2, unproved: true, errorBudget: { failures: 99, perHours: 1 } }],
        }),
      ); // prettier-ignore
      const found = await diagnosed(wide, 'p1->p2');
      const beside = await diagnosed(wide, 'p3->p2');
      const places = ['p1', 'p3', 'h1', 'h2', 'p2'];
      const start = (place: string): Promise<WorkflowHandle> =>
        startRemediation(wide, { ...(place === 'p3' ? beside : found), run: `${found.run}-${place}` }, 'alert', {
          remedy,
          place,
        });
      const before = places.map(namespaceState);
      const results = await Promise.all((await Promise.all(places.map(start))).map(ended));
      // The fifth may find the breaker open: four failures are enough for that.
      const refused = results.filter(({ outcome }) => outcome !== 'reverted').map(({ says }) => says);
      expect(refused).toEqual(refused.map(() => expect.stringMatching(/the breaker is open: 4 of the last 4/)));
      expect(refused.length).toBeLessThan(2);
      expect(places.map(namespaceState)).toEqual(before);
      const permits = await ends(wide);
      expect(permits).toHaveLength(5);
      expect(mostAtOnce(permits)).toBe(2);
      // The index is asked until it shows the five: what it shows later cannot open the breaker.
      const { handle } = await planned(wide, found, 'alert', { remedy, place: 'h1' });
      const { phase, judged } = await progressOf(handle);
      expect(phase).toBe('waiting for approval');
      expect(judged?.against).toEqual([
        expect.stringMatching(/the breaker is open: ([45]) of the last \1 automatic changes failed/),
      ]);
      await handle.cancel();
      await ended(handle);
    } finally {
      await road.breaks(fault.id);
    }
  }, 300_000);

  test('commands: what a policy would have done with all of these, without a server', () => {
    write();
    const undrop = (...words: string[]) => {
      const done = spawnSync(join(root, 'undrop'), words, { encoding: 'utf8', env: { ...process.env, NODE_OPTIONS: '', NO_COLOR: '1' } }); // prettier-ignore
      return { status: done.status, stdout: done.stdout + done.stderr };
    };
    const tried = undrop('policy', 'test', file());
    expect(tried.status).toBe(0);
    expect(tried.stdout).toMatch(/offload: needs nobody\n {4}standing approval of alice until/);
    expect(tried.stdout).toMatch(/no rule: needs 1 of the approvers/);
    const frozen = undrop('policy', 'test', file(), '--at', moment(60 * 86_400_000));
    expect(frozen.stdout).toMatch(/NOT standing approval of alice expired/);
    expect(frozen.stdout).toMatch(/: 0 would need nobody/);
    const [run] = diagnosis.run.split('-').slice(-1);
    const explained = undrop('policy', 'explain', run ?? '', '--policy', file());
    expect(explained.stdout).toMatch(/then {2}rule offload: needs nobody/);
    expect(explained.stdout).toMatch(/now {3}rule offload: needs nobody/);
    expect(undrop('policy', 'lint', file())).toMatchObject({ status: 0 });
    writeFileSync(file(), JSON.stringify({ rules: [{ ...automatic, remedies: ['reboot'] }] }));
    expect(undrop('policy', 'lint', file())).toMatchObject({ status: 2, stdout: expect.stringMatching(/there is no remedy reboot/) }); // prettier-ignore
  });

  test('every history of these tests replays', async () => {
    const histories = [];
    for await (const { workflowId, runId } of session.engine.client.workflow.list())
      histories.push({ workflowId, history: await session.engine.client.workflow.getHandle(workflowId, runId).fetchHistory() }); // prettier-ignore
    expect(histories.length).toBeGreaterThan(20);
    expect(await replayed(histories)).toEqual([]);
    // Other tests record of the other kinds what is to be kept.
    if (process.env['UNDROP_RECORD']) record(histories.filter(({ workflowId }) => workflowId.startsWith('permit/')));
  });

  async function undone(handle: WorkflowHandle, { signed, changes }: RemediateResult): Promise<void> {
    const [change] = changes;
    if (!signed || !change) throw new Error('there is no change');
    const { path, evidence } = diagnosis;
    const input = { remediation: handle.workflowId, signed, index: 0, approvals: [], path, evidence };
    expect(await rollBack(session, input, change)).toMatchObject({ state: 'reverted' });
    expect(offloads()).toBe(old);
  }
});

/** The lab with its pods as nodes: five places that are changed under locks of their own. */
function wideInventory(): Inventory {
  const addresses = {
    p1: '10.244.1.2',
    p3: '10.244.1.3',
    h1: '172.30.1.1',
    r: '172.30.1.254',
    h2: '172.30.2.1',
    p2: '10.244.2.2',
  };
  const nodes = Object.fromEntries(
    Object.entries(addresses).map(([name, address]) => [name, { shell: { netns: `undrop-${name}` }, address }]),
  );
  const paths = ['p1', 'p3'].map((from) => ({ between: [from, 'p2'], via: ['h1', 'r', 'h2'] }));
  return Inventory.parse({ name: 'wide', nodes, paths, approval: approvalBy([alice, bob]), policy: file() });
}

/** When each permit was held, by the server's own clock. */
async function ends({ engine, taskQueue }: Session): Promise<{ from: number; to: number }[]> {
  const query = `WorkflowType = "permit" AND TaskQueue = "${taskQueue}" AND ExecutionStatus = "Completed"`;
  return until('the index shows five permits', async () => {
    const found = [];
    for await (const { startTime, closeTime } of engine.client.workflow.list({ query }))
      found.push({ from: startTime.getTime(), to: closeTime?.getTime() ?? 0 });
    return found.length >= 5 ? found : undefined;
  });
}

const mostAtOnce = (held: readonly { from: number; to: number }[]): number =>
  Math.max(...held.map(({ from }) => held.filter((one) => one.from <= from && one.to > from).length));
