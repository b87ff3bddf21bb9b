import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import type { WorkflowHandle } from '@temporalio/client';
import { decide } from '../client/plans.ts';
import { followRemediation } from '../cli/remediating.ts';
import type { Session } from '../cli/session.ts';
import type { SignedPlan } from '../domain/plan.ts';
import type { RemediateResult } from '../domain/runs.ts';
import type { Fault } from '../lab/fault.ts';
import { down, faultNamed, heal, inLab, inject, labInventory, up } from '../lab/lab.ts';
import { ShellPool } from '../nodes/shells/pool.ts';
import * as guard from '../nodes/operations/guard.ts';
import type { Place } from '../domain/target.ts';
import { until } from './support/until.ts';
import { real } from './support/machine.ts';
import { approvalBy, diagnosed, Person, planned, Road } from './support/road.ts';

const [alice, bob] = [new Person('alice'), new Person('bob')];
const inventory = {
  ...labInventory('kubernetes'),
  approval: approvalBy([alice, bob]),
};

let road: Road;
let session: Session;
let broken: Fault | undefined;

async function breaks(id: string): Promise<Fault> {
  broken = faultNamed(id);
  await inject(broken);
  return broken;
}

async function approved({ handle, signed }: { handle: WorkflowHandle; signed: SignedPlan }): Promise<RemediateResult> {
  await decide(handle, alice.decides(handle.workflowId, signed.digest));
  return followRemediation(session, handle, true);
}

/** Jobs and pods of undrop's own that are not the agents'. */
const leftovers = (): Promise<string> =>
  inLab(
    'kubernetes',
    'kubectl get jobs,pods -A -l app.kubernetes.io/managed-by=undrop -o name',
    'looking for leftovers',
  );

real(
  'ip',
  'iptables',
  'nft',
  'conntrack',
)('a real Kubernetes cluster', () => {
  beforeAll(async () => {
    road = new Road();
    await up('kubernetes');
    await road.open();
    session = await road.session(inventory);
  }, 180_000);
  afterEach(async () => {
    if (broken) await heal(broken);
    broken = undefined;
  }, 60_000);
  afterAll(async () => {
    await road.close();
    await down('kubernetes');
  }, 60_000);

  test('a Service alone is surveyed from pods of undrop’s own, which are gone afterwards', async () => {
    const result = await diagnosed(session, 'service/shop/echo', bob.name);
    expect(result.kind).toBe('no-loss');
    expect(result.survey?.map(({ failed }) => failed)).toEqual([undefined, undefined, undefined, undefined]);
    expect(result.survey?.reduce((sum, { sent, serviceSent }) => sum + sent + serviceSent, 0)).toBeGreaterThan(300);
    expect(await leftovers()).toBe('');
  }, 90_000);

  test('kube-proxy frozen while an endpoint is replaced: restarted on that node, and its stale flow lives again', async () => {
    await breaks('k8s-proxy-frozen');
    await inLab('kubernetes', 'on n2 sysctl -qw net.netfilter.nf_conntrack_acct=1; spawn bystander client2 python3 -I -c "$(cat "$HERE/../netns/client.py")" $SERVICE 9000 45000', 'a bystander'); // prettier-ignore
    const diagnosis = await diagnosed(session, 'service/shop/echo', bob.name);
    expect(diagnosis.roots).toEqual([{ cause: 'KP-DOWN', place: 'n1' }]);
    const remediation = await planned(session, diagnosis, bob.name);
    expect(remediation.signed.plan.changes.map(({ place, operations }) => [place, operations.map(({ kind }) => kind)])).toEqual(
      [['n1', ['process.restart']]],
    ); // prettier-ignore
    const before = await bystander();
    const result = await approved(remediation);
    expect([result.outcome, ...result.changes.map(({ says }) => says)]).toEqual([
      'confirmed',
      expect.stringContaining('cured'),
    ]);
    const after = await bystander();
    expect(after.id).toBe(before.id);
    expect(after.packets).toBeGreaterThan(before.packets);
    const told = await inLab('kubernetes', "kubectl get events.events.k8s.io -n default -o jsonpath='{range .items[*]}{.reason} {.regarding.name}{\"\\n\"}{end}'"); // prettier-ignore
    expect(told.split('\n')).toEqual(expect.arrayContaining(['ChangeArmed n1', 'ChangeConfirmed n1']));
    expect(await inLab('kubernetes', 'kubectl -n undrop get leases -o name')).toBe('');
    expect(await leftovers()).toBe('');
  }, 180_000);

  test('scaled to zero with a client that never listens: its entry is deleted, and its next datagrams are refused', async () => {
    const fault = await breaks('k8s-scaled-to-zero');
    const diagnosis = await diagnosed(session, fault.target, bob.name);
    expect(diagnosis.roots).toEqual([
      { cause: 'CT-STALE-ZERO-EP', place: 'n1' },
      { cause: 'EP-MISSING', place: 'client.shop' },
    ]);
    const result = await approved(await planned(session, diagnosis, bob.name));
    expect([result.outcome, ...result.changes.map(({ says }) => says)]).toEqual([
      'confirmed',
      expect.stringContaining('cured'),
    ]);
  }, 180_000);

  test('a full table whose limit cannot be raised here: the flows that fill it are deleted, and no others', async () => {
    const fault = await breaks('k8s-conntrack-full');
    const diagnosis = await diagnosed(session, fault.target, bob.name);
    expect(diagnosis.roots).toEqual([{ cause: 'CT-FULL', place: 'n1' }]);
    // The storm is over; what it left lasts for an hour.
    await inLab('kubernetes', 'reap fill-n1');
    const remediation = await planned(session, diagnosis, bob.name);
    const { plan } = remediation.signed;
    expect(plan.ruledOut).toEqual([expect.stringMatching(/^raise-conntrack-max: net\.netfilter\.nf_conntrack_buckets cannot be set at n1/)]); // prettier-ignore
    expect(plan.changes[0]?.operations).toEqual([
      { kind: 'conntrack.evict', destination: '198.19.0.7', destinationPort: 9, entries: expect.any(Number) },
    ]);
    const others = async (): Promise<string[]> =>
      (await inLab('kubernetes', "on n1 conntrack -L -p tcp -o id 2>/dev/null | grep ESTABLISHED | grep -o 'id=[0-9]*'")).split('\n').toSorted(); // prettier-ignore
    const before = await others();
    const result = await approved(remediation);
    expect([result.outcome, ...result.changes.map(({ says }) => says)]).toEqual(['confirmed', expect.stringContaining('cured')]); // prettier-ignore
    expect(await others()).toEqual(expect.arrayContaining(before));
  }, 180_000);

  test('a node puts a value back by itself when the pod that changed it is gone', async () => {
    const shells = new ShellPool(inventory);
    const place: Place = { name: 'n1', role: 'hop', node: 'n1', address: '172.30.0.11', nodeAddress: '172.30.0.11' };
    const value = async (): Promise<string> =>
      (await inLab('kubernetes', 'on n1 sysctl -n net.netfilter.nf_conntrack_udp_timeout')).trim();
    try {
      const site = { shell: shells.changing('n1'), place };
      const before = Number(await value());
      const key = 'net.netfilter.nf_conntrack_udp_timeout';
      const held = { id: `t-${process.pid}-pod`, token: 'test' };
      await guard.arm(site, held, 8, [{ kind: 'sysctl.set', key, before, after: before + 7 }]);
      await guard.apply(site, held, 0);
      expect(await value()).toBe(String(before + 7));
      await inLab('kubernetes', 'kubectl -n undrop delete pod -l app.kubernetes.io/component=changer --grace-period=0 --force 2>/dev/null'); // prettier-ignore
      expect(await value()).toBe(String(before + 7));
      await until('the node has put it back', async () => (await value()) === String(before), 15_000);
    } finally {
      await shells.close();
    }
  }, 60_000);
});

/** The entry of a flow that nobody complains of: deleting it would give it another id. */
async function bystander(): Promise<{ id: string; packets: number }> {
  const line = await inLab(
    'kubernetes',
    'on n2 conntrack -L -p udp --orig-dst $SERVICE --sport 45000 -o id 2>/dev/null',
    'the bystander',
  );
  return { id: /\bid=(\d+)/.exec(line)?.[1] ?? '', packets: Number(/\bpackets=(\d+)/.exec(line)?.[1] ?? 0) };
}
