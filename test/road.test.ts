import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { WorkflowHandle } from '@temporalio/client';
import { decide, progressOf, rollBack } from '../client/plans.ts';
import { followRemediation } from '../cli/remediating.ts';
import type { Session } from '../cli/session.ts';
import type { Decision } from '../domain/approval.ts';
import type { SignedPlan } from '../domain/plan.ts';
import { type ChangeProgress, type DiagnoseResult, type RemediateResult, changeId } from '../domain/runs.ts';
import { faultNamed, labInventory, namespaceState } from '../lab/lab.ts';
import { record, replayed } from './support/histories.ts';
import { inside, real } from './support/machine.ts';
import { LabRoad } from './support/lab-road.ts';
import { approvalBy, diagnosed, Person, planned } from './support/road.ts';
import { until } from './support/until.ts';

const fault = faultNamed('broken-tx-checksum');
const [alice, bob, carol, mallory] = ['alice', 'bob', 'carol', 'mallory'].map((name) => new Person(name)) as [
  Person,
  Person,
  Person,
  Person,
];
const inventory = { ...labInventory('netns'), approval: approvalBy([alice, bob, carol], 2) };

let road: LabRoad;
let session: Session;
let diagnosis: DiagnoseResult;
const offloads = (): string => namespaceState('h1');
/** The whole set of the lab as it was made: what every test starts from, and what every undo must come back to. */
let old = '';

const ended = (handle: WorkflowHandle): Promise<RemediateResult> => followRemediation(session, handle, true);

/** Approves as the quorum asks for and waits for the end. */
async function approved({ handle, signed }: { handle: WorkflowHandle; signed: SignedPlan }): Promise<RemediateResult> {
  for (const person of [alice, bob]) await decide(handle, person.decides(handle.workflowId, signed.digest));
  return ended(handle);
}

/** The stages of the change in progress at h1, empty until it has started. */
const stages = async (): Promise<string[]> => {
  const handle = session.engine.client.workflow.getHandle(changeId(inventory.name, 'h1'));
  const running = await handle.describe().then(
    ({ status }) => status.name === 'RUNNING',
    () => false,
  );
  const progress = running ? await handle.query<ChangeProgress>('progress').catch(() => undefined) : undefined;
  return progress?.stages.map(({ says }) => says) ?? [];
};

real(
  'ip',
  'ethtool',
  'iptables',
  'nft',
)('the whole road on real kernels', () => {
  beforeAll(async () => {
    road = new LabRoad('netns');
    session = await road.begin(inventory);
    old = offloads();
    await road.breaks(fault.id);
    diagnosis = await diagnosed(session, fault.target, carol.name);
  }, 120_000);
  afterAll(() => road.close(), 60_000);

  test('the cause is named at its place, with a report that sums up the loss and says what was ruled out', () => {
    expect(diagnosis.roots).toEqual([{ cause: 'OFFLOAD-CSUM-TX', place: 'h1' }]);
    const report = readFileSync(join(diagnosis.report, 'report.md'), 'utf8');
    expect(report).toMatch(/lost [\d,]+ of [\d,]+ = h1 bad checksums at h2 \+[\d,]+ \(small, /);
    expect(report).toContain(
      '| CT-FULL: the connection tracking table is full | h1 | conntrack drop +0 while 200 of 200',
    );
    expect(report).toContain('Lessons');
  });

  test("Temporal's own UI has summaries, the details of the run, and attributes to search by", async () => {
    const handle = session.engine.client.workflow.getHandle(`diagnose/${diagnosis.run}`);
    expect(await (await handle.describe()).staticSummary()).toBe('why does h1->h2 lose datagrams?');
    const metadata = await handle.query<{ currentDetails: string }>('__temporal_workflow_metadata');
    expect(metadata.currentDetails).toContain('| small | 200 | 200 |');
    const query = `UndropTarget = "h1->h2" AND UndropConclusion = "OFFLOAD-CSUM-TX"`;
    const count = (): Promise<number> => session.engine.client.workflow.count(query).then((found) => found.count);
    await until('the run is found by its conclusion', async () => (await count()) === 1);
  });

  describe('decisions that do not count', () => {
    let handle: WorkflowHandle;
    let signed: SignedPlan;
    beforeAll(async () => {
      ({ handle, signed } = await planned(session, diagnosis, carol.name));
    });
    afterAll(async () => {
      const reason = 'the tests of decisions are over';
      await decide(handle, alice.decides(handle.workflowId, signed.digest, { decision: 'reject', reason })).catch(
        () => {},
      );
    });

    const digest = 'f'.repeat(64);
    test.each<[string, (id: string, own: string) => Decision, RegExp]>([
      ['of another plan', (id) => alice.decides(id, digest), /the plan has the digest \w{12}, not ffffffffffff/],
      ['by whoever asked for the plan', (id, own) => carol.decides(id, own), /carol asked for this plan and may not/],
      ['by somebody unknown', (id, own) => mallory.decides(id, own), /mallory is not among the approvers \(alice, bob, carol\)/],
      ['with a forged name', (id, own) => mallory.decides(id, own, { principal: 'alice' }), /not signed by alice's key/],
      ['signed for another run', (id, own) => ({ ...alice.decides(`${id}x`, own) }), /not signed by alice's key/],
      ['turned round after signing', (id, own) => ({ ...alice.decides(id, own, { decision: 'reject', reason: 'no' }), decision: 'approve' }), /not signed by alice's key/],
      ['a rejection without a reason', (id, own) => alice.decides(id, own, { decision: 'reject' }), /needs a reason/],
    ])('%s', async (_, decision, why) => {
      await expect(decide(handle, decision(handle.workflowId, signed.digest))).rejects.toThrow(why);
      expect((await progressOf(handle)).phase).toBe('waiting for approval');
    }); // prettier-ignore

    test('twice by the same person: the second does not make a quorum', async () => {
      await decide(handle, alice.decides(handle.workflowId, signed.digest));
      const again = decide(handle, alice.decides(handle.workflowId, signed.digest));
      await expect(again).rejects.toThrow('alice has already decided');
      const { phase, decisions } = await progressOf(handle);
      expect(phase).toBe('waiting for approval');
      expect(decisions.filter(({ refused }) => refused === undefined)).toHaveLength(1);
      expect(offloads()).toBe(old);
    });

    test('a refused signal is recorded with its reason, and changes nothing', async () => {
      await handle.signal('decision', mallory.decides(handle.workflowId, signed.digest, { principal: 'bob' }));
      const last = await until('it is recorded', async () => {
        const { decisions } = await progressOf(handle);
        return decisions.find(({ principal }) => principal === 'bob');
      });
      expect(last.refused).toBe("the decision is not signed by bob's key");
    });

    test('after a rejection the plan is closed for good', async () => {
      const reason = 'not during the sale';
      await decide(handle, bob.decides(handle.workflowId, signed.digest, { decision: 'reject', reason }));
      expect(await ended(handle)).toMatchObject({ outcome: 'rejected', says: 'bob rejected it: not during the sale' });
      await expect(decide(handle, alice.decides(handle.workflowId, signed.digest))).rejects.toThrow(
        /completed|not found/i,
      );
      expect(offloads()).toBe(old);
    });
  });

  test('silence never approves: an undecided plan lapses, and a late decision has no effect', async () => {
    const hasty = { ...inventory, name: 'hasty', approval: { ...inventory.approval, expiresMinutes: 0.04 } };
    const late = await road.session(hasty);
    const { handle, signed } = await planned(late, diagnosis);
    expect(await ended(handle)).toMatchObject({ outcome: 'expired', changes: [] });
    await expect(decide(handle, alice.decides(handle.workflowId, signed.digest))).rejects.toThrow(
      /completed|not found/i,
    );
    expect(offloads()).toBe(old);
  });

  test('a value that drifted between plan and approval voids the plan, and the difference is shown', async () => {
    const plan = await planned(session, diagnosis);
    inside('undrop-h1', 'ethtool -K eth0 gro on');
    try {
      const drifted = offloads();
      expect(drifted).not.toBe(old);
      const result = await approved(plan);
      expect(result.outcome).toBe('refused');
      expect(result.says).toMatch(
        /drift: offload eth0 is .*generic-receive-offload=on.*, the plan says .*generic-receive-offload=off/,
      );
      expect(offloads()).toBe(drifted);
    } finally {
      inside('undrop-h1', 'ethtool -K eth0 gro off');
    }
  });

  test('what does not help is reverted, and every feature reads as before', async () => {
    const other = faultNamed('random-drop');
    await road.breaks(other.id);
    try {
      const found = await diagnosed(session, other.target);
      const override = { remedy: 'disable-tx-checksum', place: 'h1' };
      const result = await approved(await planned(session, found, 'alert', override));
      expect(result.outcome).toBe('reverted');
      expect(result.changes[0]?.verification?.helped).toBe(false);
      expect(result.changes[0]?.proof[0]).toMatch(/^restored 0 rx-checksumming=/);
      expect(offloads()).toBe(old);
    } finally {
      await road.breaks(fault.id);
    }
  });

  test('a change that is cancelled halfway is reverted before the run ends', async () => {
    const plan = await planned(session, diagnosis);
    for (const person of [alice, bob])
      await decide(plan.handle, person.decides(plan.handle.workflowId, plan.signed.digest));
    await until('it is applied', async () => (await stages()).some((says) => says.includes('on -> off')), 30_000);
    expect(offloads()).not.toBe(old);
    await plan.handle.cancel();
    expect(await ended(plan.handle)).toMatchObject({ outcome: 'cancelled' });
    expect(offloads()).toBe(old);
  });

  test('one change at a time on a node: a second plan is refused while the first is in progress', async () => {
    const first = await planned(session, diagnosis);
    const second = await planned(session, await diagnosed(session, fault.target));
    const winner = approved(first);
    await until('the first holds the node', async () => (await stages()).length > 0, 30_000);
    const loser = await approved(second);
    expect(loser).toMatchObject({ outcome: 'refused' });
    expect(loser.says).toContain('another change is in progress on h1');
    expect(await winner).toMatchObject({ outcome: 'confirmed' });
    const change = (await winner).changes[0];
    if (!change) throw new Error('there is no change');
    const { path, evidence } = diagnosis;
    const input = {
      remediation: first.handle.workflowId,
      signed: first.signed,
      index: 0,
      approvals: [],
      path,
      evidence,
    };
    expect(await rollBack(session, input, change)).toMatchObject({ state: 'reverted' });
    expect(offloads()).toBe(old);
  });

  test('found, approved by a signal, toggled, verified, confirmed; and rolled back to exactly the old state', async () => {
    const { handle, signed } = await planned(session, diagnosis);
    for (const person of [alice, bob])
      await handle.signal('decision', person.decides(handle.workflowId, signed.digest));
    const result = await ended(handle);
    expect(result).toMatchObject({ outcome: 'confirmed' });
    const [change] = result.changes;
    const small = change?.verification?.steps.find(({ step }) => step === 'small');
    expect(small).toMatchObject({ before: { sent: 200, lost: 200 }, after: { sent: 200, lost: 0, counted: 0 } });
    expect(inside('undrop-h1', 'ethtool -k eth0')).toContain('tx-checksum-ip-generic: off');
    expect((await diagnosed(session, fault.target)).kind).toBe('no-loss');
    if (!change) return;
    const { path, evidence } = diagnosis;
    const input = { remediation: handle.workflowId, signed, index: 0, approvals: [], path, evidence };
    expect(await rollBack(session, input, change)).toMatchObject({ state: 'reverted' });
    expect(offloads()).toBe(old);
  });

  test('every history of these tests replays against the workflows as they are', async () => {
    const histories = [];
    for await (const { workflowId, runId } of session.engine.client.workflow.list()) {
      const history = await session.engine.client.workflow.getHandle(workflowId, runId).fetchHistory();
      histories.push({ workflowId, history });
    }
    expect(histories.length).toBeGreaterThan(15);
    expect(await replayed(histories)).toEqual([]);
    if (process.env['UNDROP_RECORD']) record(histories);
  });

  test('the worker had nothing to complain about', () =>
    expect(road.warnings.filter((one) => /error|fail/i.test(one))).toEqual([]));
});
