import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type AddressInfo, type Socket, createServer } from 'node:net';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MockActivityEnvironment } from '@temporalio/testing';
import { Observers, reachOf } from '../activities/deps.ts';
import { createActivities } from '../activities/index.ts';
import { EvidenceStore } from '../activities/store.ts';
import { digestOf } from '../domain/digest.ts';
import { Inventory } from '../domain/inventory.ts';
import type { Plan } from '../domain/plan.ts';
import { Policy } from '../domain/policy.ts';
import type { ChangeInput } from '../domain/runs.ts';
import { resolveTarget } from '../domain/target.ts';
import { ShellPool } from '../nodes/shells/pool.ts';
import { loadRunbook } from '../runbooks/load.ts';
import { deadCluster } from './support/dead-cluster.ts';
import { Namespaces, real } from './support/machine.ts';
import { Person } from './support/road.ts';

const alice = new Person('alice');
const namespaces = new Namespaces();
const remediation = 'remediate/20260101-0000-binding';
const key = 'net.ipv4.ipfrag_high_thresh';
let inventory: Inventory;
const ids: string[] = [];

const activitiesOf = (own: Inventory) => {
  const shells = new ShellPool(own);
  const store = new EvidenceStore('/nonexistent');
  return createActivities({ inventory: own, runbook: loadRunbook(), checks: { digest: '', checks: [] }, shells, store, runs: '/nonexistent', audits: '/nonexistent', observers: new Observers(shells) });
}; // prettier-ignore

/** A plan that alice has approved, for the node `one`. */
function approvedPlan(change: Partial<Plan> = {}): ChangeInput {
  const path = resolveTarget(inventory, 'one->two');
  const [place] = path.places;
  if (!place) throw new Error('there is no place');
  const operations = [{ kind: 'sysctl.set' as const, key, before: 4_194_304, after: 8_388_608 }];
  const plan: Plan = {
    run: '20260101-0000-binding', inventory: inventory.name, requester: 'alert', expiresAt: Date.now() + 600_000, runbook: loadRunbook().digest,
    evidence: '', remedy: 'raise-ipfrag-threshold', title: '', verify: [], predict: '', withinSeconds: 5, revertAfterSeconds: 60,
    risk: 'low', cost: '', owner: '', lasts: '', reversible: true, radius: { flows: 0, services: [] },
    changes: [{ place: 'one', node: 'one', reach: reachOf(inventory, place), cause: 'FRAG-REASM', operations }], ...change,
  }; // prettier-ignore
  const digest = digestOf(plan);
  const approvals = [alice.decides(remediation, digest)];
  return { remediation, signed: { plan, digest }, index: 0, approvals, path, evidence: { first: '', parts: [] } };
}

const [today, later] = [0, 30].map((days) => new Date(Date.now() + days * 86_400_000).toISOString().slice(0, 10));
/** Lets exactly this plan through; its file is made before the tests. */
const policy = Policy.parse({
  rules: [{ name: 'all', mode: 'active', remedies: ['raise-ipfrag-threshold'], approvals: 'none', standing: { by: ['alice'], given: today, until: later }, largest: { nodes: 1, flows: 'any', services: 'any' } }],
}); // prettier-ignore
const folder = mkdtempSync(join(tmpdir(), 'undrop-t-policy-'));
const file = join(folder, 'policy.yaml');
writeFileSync(file, JSON.stringify(policy));

/** The same plan, which nobody signed and that says a rule stands for its approval. */
function standing(input: ChangeInput, of: string): ChangeInput {
  const plan: Plan = { ...input.signed.plan, policy: { digest: of, rule: 'all', standing: { atOnce: 1 } } };
  return { ...input, signed: { plan, digest: digestOf(plan) }, approvals: [] };
}

/** Activities heartbeat, which only works within one. */
const asActivity = <T>(work: () => Promise<T>): Promise<T> => new MockActivityEnvironment().run(work);

const arm = (own: Inventory, input: ChangeInput, token = 'run-1'): Promise<string> => {
  const id = `t-${process.pid}-${input.signed.digest.slice(0, 12)}`;
  ids.push(id);
  return asActivity(() => activitiesOf(own).arm({ id, token }, input));
};

real(
  'ip',
  'flock',
  'sysctl',
)('an approval is for this plan, node and inventory', () => {
  beforeAll(() => {
    const [one, two] = [namespaces.add('-one'), namespaces.add('-two')];
    inventory = Inventory.parse({
      name: 'binding',
      nodes: { one: { shell: { netns: one }, address: '192.0.2.1' }, two: { shell: { netns: two }, address: '192.0.2.2' } },
      approval: { approvers: [alice.approver] },
    }); // prettier-ignore
  });
  afterAll(() => {
    namespaces.remove();
    rmSync(folder, { recursive: true });
    for (const id of ids) rmSync(`/run/undrop/${id}`, { recursive: true, force: true });
  });

  test('it arms that node, once: the same approvals cannot have it carried out again', async () => {
    const input = approvedPlan();
    await expect(arm(inventory, input)).resolves.toMatch(/^\d{4}-/);
    await expect(arm(inventory, input, 'run-2')).rejects.toThrow('held by another run');
    const id = ids.at(-1) ?? '';
    const change = { id, token: 'run-1' };
    const reverted = asActivity(() => activitiesOf(inventory).revert(change, input));
    await expect(reverted).resolves.toMatchObject({ state: 'reverted' });
    await expect(arm(inventory, input, 'run-3')).rejects.toThrow('already reverted');
  });

  test.each<[string, (input: ChangeInput) => [Inventory, ChangeInput], RegExp]>([
    ['the inventory reaches another machine by that name', (input) => [{ ...inventory, nodes: { ...inventory.nodes, one: inventory.nodes['two']! } }, input], /reaches one otherwise/],
    ['a worker of another inventory', (input) => [{ ...inventory, name: 'other' }, input], /of the inventory binding, not other/],
    ['a plan that was edited after the approval', (input) => [inventory, { ...input, signed: { ...input.signed, plan: { ...input.signed.plan, revertAfterSeconds: 9999 } } }], /not the one that its digest names/],
    ['an approval of another plan', (input) => [inventory, { ...input, approvals: approvedPlan({ risk: 'high' }).approvals }], /has the digest/],
    ['a standing approval of a policy that this worker does not have', (input) => [inventory, standing(input, 'f'.repeat(64))], /the policy was changed/],
    ['a standing approval of this very policy, but no server to ask for permits', (input) => [{ ...inventory, policy: file }, standing(input, digestOf(policy))], /cannot count automatic changes/],
    ['approvals by people, but a policy that the plan does not know', (input) => [{ ...inventory, policy: file }, input], /the policy was changed/],
    ['a policy that is not there', (input) => [{ ...inventory, policy: '/nonexistent/policy.yaml' }, input], /the policy cannot be used: there is no policy/],
    ['no approval at all', (input) => [inventory, { ...input, approvals: [] }], /not approved/],
  ])('not where there is %s', async (_, change, why) => {
    const [own, input] = change(approvedPlan());
    await expect(arm(own, input)).rejects.toThrow(why);
  }); // prettier-ignore

  test('what a workflow says of the way to a node is not believed: the place is looked up in the inventory', async () => {
    const input = approvedPlan();
    const places = input.path.places.map((place) => ({ ...place, node: 'two', netns: '../../proc/1/ns/net' }));
    await expect(arm(inventory, { ...input, path: { ...input.path, places } })).resolves.toMatch(/^\d{4}-/);
    const change = { id: ids.at(-1) ?? '', token: 'run-1' };
    await asActivity(() => activitiesOf(inventory).revert(change, input));
  });

  test('names that are paths reach no folder', async () => {
    const activities = activitiesOf(inventory);
    const confirm = asActivity(() => activities.confirm({ id: '../victim', token: 'x' }, approvedPlan()));
    await expect(confirm).rejects.toThrow('is no name of a change');
    const result = { outcome: 'failed' as const, says: '', decisions: [], changes: [] };
    const write = asActivity(() => activities.writeRemediation(remediation, '../../x', result));
    await expect(write).rejects.toThrow('is no name of a run');
  });
});

test('a cluster that is slow to answer costs no change its result: what is cleaned up for it goes on beating', async () => {
  const silent: Socket[] = [];
  const server = createServer((socket) => void silent.push(socket));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const own = mkdtempSync(join(tmpdir(), 'undrop-t-slow-'));
  const kubeconfig = await deadCluster(own, port);
  const context = new MockActivityEnvironment();
  let beats = 0;
  context.on('heartbeat', () => {
    // The workflow waits for two seconds without one.
    if (++beats === 8) for (const socket of silent) socket.destroy();
  });
  const slow = Inventory.parse({ name: 'slow', kubernetes: { kubeconfig, context: 'prod' } });
  await context.run(() => activitiesOf(slow).release('t-slow', 'run'));
  expect(beats).toBeGreaterThanOrEqual(8);
  server.close();
  rmSync(own, { recursive: true });
}, 30_000);
