import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { readFileSync, readdirSync, rmSync } from 'node:fs';
import type { WorkflowHandle } from '@temporalio/client';
import type { Session } from '../cli/session.ts';
import { ofRollout } from '../client/confirmed.ts';
import { decide, rollBack } from '../client/plans.ts';
import { awaitRollout, startRollout } from '../client/rollouts.ts';
import { diagnosisOf } from '../client/runs.ts';
import { newRun } from '../client/start.ts';
import { digestOf } from '../domain/digest.ts';
import type { RolloutResult, SignedRollout } from '../domain/rollout.ts';
import { changeId } from '../domain/runs.ts';
import { type RolloutRules, usualRules } from '../domain/waves.ts';
import { down, inLab, labInventory, namespaceState, up } from '../lab/lab.ts';
import { type Command, Commands } from './support/commands.ts';
import { record, replayed } from './support/histories.ts';
import { real, sh } from './support/machine.ts';
import { Person, Road, approvalBy } from './support/road.ts';
import { until } from './support/until.ts';

/** Twenty nodes are diagnosed twice each. */
jest.setTimeout(400_000);
const nodes = Array.from({ length: 20 }, (_, at) => `n${at + 1}`);
const [alice, bob] = [new Person('alice'), new Person('bob')];
const inventory = { ...labInventory('fleet'), approval: approvalBy([alice, bob]) };
const quick: RolloutRules = { ...usualRules, soakSeconds: 1 };

let road: Road;
let session: Session;
const commands = new Commands();
let first: Command;
const states = (): Record<string, string> => Object.fromEntries(nodes.map((node) => [node, namespaceState(`fleet-${node}`)])); // prettier-ignore
let old: Record<string, string> = {};
const changed = (): string[] => nodes.filter((node) => namespaceState(`fleet-${node}`) !== old[node]);
const cards = (kind: string, of: readonly string[]): Promise<string> =>
  inLab('fleet', of.map((node) => `card ${node.slice(1)} ${kind}`).join('\n'));

async function worker(): Promise<Command> {
  const started = commands.start(['worker', '-i', road.file(inventory)]);
  await started.says('working on');
  return started;
}

/** A rollout that waits for approval. */
async function planned(
  of: readonly string[],
  rules: RolloutRules,
  ends = ['far'],
): Promise<{ name: string; handle: WorkflowHandle; signed: SignedRollout }> {
  const name = newRun();
  const targets = of.map((node, at) => `${node}->${ends[at % ends.length]}`);
  const handle = await startRollout(session, name, { targets, rules, windowMs: 500, atOnce: 2, requester: bob.name });
  const { signed } = await awaitRollout(handle);
  if (!signed) throw new Error(JSON.stringify(await handle.result()));
  return { name, handle, signed };
}
const approve = async (handle: WorkflowHandle, { digest }: SignedRollout): Promise<void> =>
  decide(handle, alice.decides(handle.workflowId, digest));
const ended = async (handle: WorkflowHandle): Promise<RolloutResult> => (await handle.result()) as RolloutResult;
const standing = ({ rows }: Pick<RolloutResult, 'rows'>): Record<string, string> =>
  Object.fromEntries(rows.map(({ target, state }) => [target.replace(/->far2?$/, ''), state]));
const all = (of: readonly string[], state: string): Record<string, string> =>
  Object.fromEntries(of.map((node) => [node, state]));
/** Nodes on which anything of a rollout was ever armed, by what the nodes themselves kept. */
const touched = (name: string): string[] =>
  [...new Set(readdirSync('/run/undrop').flatMap((id) => (id.startsWith(name) ? (/-(n\d+)-/.exec(id)?.[1] ?? []) : [])))].toSorted(); // prettier-ignore
/** How many changes of a rollout were armed on a node. */
const armed = (name: string, node: string): number =>
  readdirSync('/run/undrop').filter((id) => id.startsWith(name) && id.includes(`-${node}-`)).length;

real('ip', 'ethtool')('a rollout over twenty nodes', () => {
  beforeAll(async () => {
    road = new Road();
    await up('fleet');
    old = states();
    await cards('broken', nodes);
    await road.open();
    session = await road.session(inventory, false);
    first = await worker();
  }, 120_000);
  afterAll(async () => {
    await commands.end();
    await road.close();
    await down('fleet');
  }, 60_000);

  test('a remedy that hurts on the third node stops it, also when the worker dies: what was touched is back, the rest never was', async () => {
    await cards('hurting', ['n3']);
    // Diagnoses that share an end wait for each other: with two ends two go at once.
    const { name, handle, signed } = await planned(nodes, { ...quick, canary: 3 }, ['far', 'far2']);
    const { waves } = signed.rollout;
    expect(waves[0]?.map(({ node }) => node)).toEqual(['n1', 'n2', 'n3']);
    expect(new Set(waves.flat().map(({ node }) => node))).toEqual(new Set(nodes));
    await approve(handle, signed);
    await until('the first node is changed', () => changed().includes('n1'), 60_000);
    first.kill('SIGKILL');
    await worker();
    const result = await ended(handle);
    expect(standing(result)).toEqual({
      ...all(nodes.slice(3), 'not started'),
      n1: 'undone',
      n2: 'undone',
      n3: 'failed',
    });
    expect(result.outcome).toBe('stopped');
    expect(result.says).toMatch(/everything is back as it was .*n3->far: worse: /);
    expect(states()).toEqual(old);
    expect(touched(name)).toEqual(['n1', 'n2', 'n3']);
    expect(readFileSync(result.report ?? '', 'utf8')).toMatch(/n1: put back, reverted\n- read back: restored 0/);
    await kept(handle);
  });

  test('wave after wave is cured, what healed meanwhile is left alone, and all of it can be undone later', async () => {
    const some = nodes.slice(0, 7);
    await cards('broken', ['n3']);
    const { name, handle, signed } = await planned(some, { ...quick, wave: '1' }, ['far', 'far2']);
    // One of each of three zones after the canary.
    expect(signed.rollout.waves.map((wave) => wave.map(({ node }) => node))).toEqual([['n1'], ['n2', 'n3', 'n4'], ['n5', 'n6', 'n7']]); // prettier-ignore
    await expect(decide(handle, bob.decides(handle.workflowId, signed.digest))).rejects.toThrow(
      /bob asked for this plan/,
    );
    await cards('whole', ['n6']);
    await approve(handle, signed);
    const result = await ended(handle);
    expect(standing(result)).toEqual({ ...all(some, 'confirmed'), n6: 'healed' });
    expect(result.outcome).toBe('confirmed');
    expect(changed()).toEqual(['n1', 'n2', 'n3', 'n4', 'n5', 'n7']);
    expect(touched(name)).not.toContain('n6');
    await kept(handle);

    const undo = commands.start(['rollback', name, '-i', road.file(inventory)]);
    expect(await undo.ended).toBe(0);
    expect(states()).toEqual(old);
    // A node that knows nothing of the change, as after a boot, cannot say that it is undone.
    const journal = result.rows.find(({ node }) => node === 'n7')?.changes[0]?.id ?? '';
    rmSync(`/run/undrop/${journal}`, { recursive: true });
    const again = commands.start(['rollback', name, '-i', road.file(inventory)]);
    expect(await again.ended).toBe(3);
    expect(again.stdout).toMatch(
      /none +n7: its node has no journal of it, and nothing was undone: .*\n +it had set eth0: tx-checksum-ip-generic on -> off/,
    );
    await cards('broken', ['n6']);
  });

  test('a loss that ends by itself is not credited: the change is put back, the others are not made', async () => {
    const some = nodes.slice(0, 4);
    const { handle, signed } = await planned(some, { ...quick, soakSeconds: 6 });
    await approve(handle, signed);
    await until('the canary is changed', () => changed().includes('n1'), 60_000);
    // One that cannot be measured is passed over.
    const back = away('n2');
    await cards('whole', some);
    const result = await ended(handle).finally(back);
    expect(standing(result)).toEqual({ ...all(some, 'healed'), n2: 'refused' });
    expect(result.rows[0]?.says).toMatch(
      /the loss ended at n3->far, n4->far too, where nothing was changed; every value is back/,
    );
    expect(states()).toEqual(old);
    await cards('broken', some);
  });

  test('untouched nodes that cannot be measured do not undo a good change, and its result says so', async () => {
    const some = nodes.slice(0, 3);
    const { handle, signed } = await planned(some, { ...quick, soakSeconds: 4 });
    await approve(handle, signed);
    await until('the canary is changed', () => changed().includes('n1'), 60_000);
    const back = some.slice(1).map(away);
    const result = await ended(handle).finally(() => back.forEach((put) => put()));
    expect(standing(result)).toEqual({ n1: 'confirmed', n2: 'refused', n3: 'refused' });
    expect(result.rows[0]?.says).toMatch(
      /cured: .*; not compared with an untouched node, since none could be measured \(n2->far: .*; n3->far: /,
    );
    expect(changed()).toEqual(['n1']);
    await undone(handle);
  });

  test('cancelled amid a wave, what is not confirmed is put back, and what was confirmed stays and is named', async () => {
    // Of two targets of one node the second is never begun.
    const { name, handle, signed } = await planned(['n1', 'n2', 'n2', 'n3'], { ...quick, soakSeconds: 10 }, ['far', 'far2']); // prettier-ignore
    await approve(handle, signed);
    await until('the second wave is changed', () => changed().length > 2, 90_000);
    await handle.cancel();
    const result = await ended(handle);
    expect(result).toMatchObject({ outcome: 'cancelled', says: expect.stringMatching(/1 confirmed.*stays/) });
    expect(result.rows.map(({ target, state }) => `${target} ${state}`).toSorted()).toEqual(
      ['n1->far confirmed', 'n2->far not started', 'n2->far2 undone', 'n3->far2 undone'],
    ); // prettier-ignore
    expect(changed()).toEqual(['n1']);
    expect(armed(name, 'n2')).toBe(1);
    await undone(handle);
  });

  test('that a change has stopped begins no other on its node', async () => {
    await cards('hurting', ['n1']);
    const { name, handle, signed } = await planned(['n2', 'n1', 'n1'], { ...quick, maxFailed: 0 }, ['far', 'far2']);
    await approve(handle, signed);
    const result = await ended(handle);
    expect(result.rows.map(({ target, state }) => `${target} ${state}`)).toEqual(
      ['n2->far undone', 'n1->far2 failed', 'n1->far not started'],
    ); // prettier-ignore
    expect(armed(name, 'n1')).toBe(1);
    expect(states()).toEqual(old);
    await cards('broken', ['n1']);
  });

  test('of which somebody cancels one diagnosis goes on with its other targets', async () => {
    const name = newRun();
    const targets = ['n1', 'n2'].map((node) => `${node}->far`);
    const handle = await startRollout(session, name, { targets, rules: quick, windowMs: 500, atOnce: 2, requester: bob.name }); // prettier-ignore
    const diagnosis = session.engine.client.workflow.getHandle(`diagnose/${name}-1`);
    await until('it is looked at', async () => diagnosis.describe().then(({ status }) => status.name === 'RUNNING', () => false), 30_000); // prettier-ignore
    await diagnosis.cancel();
    const { signed, rows } = await awaitRollout(handle);
    expect(rows).toMatchObject([
      { state: 'skipped', says: expect.stringMatching(/cancelled/) },
      { state: 'planned', node: 'n2' },
    ]);
    await decide(handle, alice.decides(handle.workflowId, signed?.digest ?? '', { decision: 'reject', reason: 'a trial' })); // prettier-ignore
    expect(await ended(handle)).toMatchObject({ outcome: 'rejected' });
    await kept(handle);
  });

  test('approvals of a rollout open no other plan, and no rollout that no worker made', async () => {
    const { handle, signed } = await planned(['n1', 'n2'], quick);
    const [one, two] = signed.rollout.waves.flat();
    if (!one || !two) throw new Error('there are no two parts');
    const { path, evidence } = await diagnosisOf(session, one.plan.run);
    const plan = { ...one.plan, changes: [...one.plan.changes, ...two.plan.changes] };
    const approvals = [alice.decides(handle.workflowId, signed.digest)];
    const input = { remediation: handle.workflowId, approvals, index: 0, path, evidence };
    const tried = async (more: object): Promise<unknown> =>
      session.engine.client.workflow.execute('change', {
        workflowId: changeId(inventory.name, 'n1'), taskQueue: session.taskQueue, args: [{ ...input, ...more }],
      }); // prettier-ignore
    const own = { signed: { plan, digest: digestOf(plan) } };
    expect(await tried({ ...own, rollout: signed.digest })).toMatchObject({ outcome: 'refused', says: expect.stringMatching(/not one of the rollout/) }); // prettier-ignore
    expect(await tried({ ...own, rollout: digestOf('mine') })).toMatchObject({ outcome: 'refused', says: expect.stringMatching(/no worker of this inventory/) }); // prettier-ignore
    expect(await tried({ signed: { plan: one.plan, digest: one.digest } })).toMatchObject({ outcome: 'refused', says: expect.stringMatching(/has the digest/) }); // prettier-ignore
    expect(states()).toEqual(old);
    await decide(handle, alice.decides(handle.workflowId, signed.digest, { decision: 'reject', reason: 'a trial' }));
    expect(await ended(handle)).toMatchObject({ outcome: 'rejected' });
  });
});

async function undone(handle: WorkflowHandle): Promise<void> {
  for (const { input, change } of await ofRollout(session, handle)) await rollBack(session, input, change);
  expect(states()).toEqual(old);
}

/** Has nobody reach a node. @returns ends that */
function away(node: string): () => void {
  const netns = `/run/netns/undrop-fleet-${node}`;
  sh('mount', '--bind', '/dev/null', netns);
  return () => void sh('umount', netns);
}

/** Its history still replays with today's workflows, and can be kept as a fixture. */
async function kept(handle: WorkflowHandle): Promise<void> {
  const history = { workflowId: handle.workflowId, history: await handle.fetchHistory() };
  expect(await replayed([history])).toEqual([]);
  if (process.env['UNDROP_RECORD']) record([history]);
}
