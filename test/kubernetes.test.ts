import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import type { WorkflowHandle } from '@temporalio/client';
import { decide } from '../client/plans.ts';
import { heldOnNodes } from '../cli/held.ts';
import { followRemediation } from '../cli/remediating.ts';
import type { Session } from '../cli/session.ts';
import { radiusOf } from '../activities/radius.ts';
import type { Operation } from '../domain/operation.ts';
import { type PlannedChange, type SignedPlan, radiusLine } from '../domain/plan.ts';
import type { RemediateResult } from '../domain/runs.ts';
import { inLab, labInventory } from '../lab/lab.ts';
import { ShellPool } from '../nodes/shells/pool.ts';
import * as guard from '../nodes/operations/guard.ts';
import type { Place } from '../domain/target.ts';
import { until } from './support/until.ts';
import { real } from './support/machine.ts';
import { LabRoad } from './support/lab-road.ts';
import { approvalBy, diagnosed, Person, planned } from './support/road.ts';

const [alice, bob] = [new Person('alice'), new Person('bob')];
const inventory = {
  ...labInventory('kubernetes'),
  approval: approvalBy([alice, bob]),
};

let road: LabRoad;
let session: Session;

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
    road = new LabRoad('kubernetes');
    session = await road.begin(inventory);
  }, 180_000);
  afterEach(() => road.heal(), 60_000);
  afterAll(() => road.close(), 60_000);

  test('a Service alone is surveyed from pods of undrop’s own, which are gone afterwards', async () => {
    const result = await diagnosed(session, 'service/shop/echo', bob.name);
    expect(result.kind).toBe('no-loss');
    expect(result.survey?.map(({ failed }) => failed)).toEqual([undefined, undefined, undefined, undefined]);
    expect(result.survey?.reduce((sum, { sent, serviceSent }) => sum + sent + serviceSent, 0)).toBeGreaterThan(300);
    expect(await leftovers()).toBe('');
  }, 90_000);

  test('kube-proxy frozen while an endpoint is replaced: restarted on that node, and its stale flow lives again', async () => {
    await road.breaks('k8s-proxy-frozen');
    await inLab('kubernetes', 'on n2 sysctl -qw net.netfilter.nf_conntrack_acct=1; spawn bystander client2 python3 -I -c "$(cat "$HERE/../netns/client.py")" $SERVICE 9000 45000', 'a bystander'); // prettier-ignore
    const diagnosis = await diagnosed(session, 'service/shop/echo', bob.name);
    expect(diagnosis.roots).toEqual([{ cause: 'KP-DOWN', place: 'n1' }]);
    const remediation = await planned(session, diagnosis, bob.name);
    expect(remediation.signed.plan.changes.map(({ place, operations }) => [place, operations.map(({ kind }) => kind)])).toEqual(
      [['n1', ['process.restart']]],
    ); // prettier-ignore
    expect(radiusLine(remediation.signed.plan.radius)).toMatch(/^[\d,]+ tracked flows \([\d,]+ UDP flows\); \d+ pods; Services there: kube-system\/kube-dns, shop\/echo$/); // prettier-ignore
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
    const fault = await road.breaks('k8s-scaled-to-zero');
    const diagnosis = await diagnosed(session, fault.target, bob.name);
    expect(diagnosis.roots).toEqual([
      { cause: 'CT-STALE-ZERO-EP', place: 'n1' },
      { cause: 'EP-MISSING', place: 'client.shop' },
    ]);
    const remediation = await planned(session, diagnosis, bob.name);
    const { operations = [] } = remediation.signed.plan.changes[0] ?? {};
    expect(remediation.signed.plan.radius).toEqual({ flows: operations.length, exact: true, services: ['shop/echo'] });
    const result = await approved(remediation);
    expect([result.outcome, ...result.changes.map(({ says }) => says)]).toEqual([
      'confirmed',
      expect.stringContaining('cured'),
    ]);
  }, 180_000);

  test('a full table whose limit cannot be raised here: the flows that fill it are deleted, and no others', async () => {
    const fault = await road.breaks('k8s-conntrack-full');
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

  test('a plan says what lives on the node that it changes: Services with endpoints or clients there, pods, flows', async () => {
    await inLab('kubernetes', `kubectl apply -f - <<'END'
---
{apiVersion: v1, kind: Service, metadata: {name: far, namespace: shop}, spec: {clusterIP: 10.96.0.101, ports: [{port: 53, targetPort: 9001, protocol: UDP}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: unused, namespace: shop}, spec: {ports: [{port: 53, targetPort: 9002, protocol: UDP}]}}
END
for pair in far=9001 unused=9002; do kubectl apply -f - <<END
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: \${pair%=*}-1, namespace: shop, labels: {kubernetes.io/service-name: \${pair%=*}}},
 addressType: IPv4, ports: [{port: \${pair#*=}, protocol: UDP}], endpoints: [{addresses: [10.244.2.250], nodeName: n2}]}
END
done
asks() { onpod client python3 -I -c 'import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("10.96.0.101", 53))'; on n1 conntrack -L -p udp --orig-dst 10.96.0.101 --reply-src 10.244.2.250 2>/dev/null | grep -q .; }
until_ok 20 asks`); // prettier-ignore
    const shells = new ShellPool(inventory);
    try {
      const place = (name: string, uid: string): Place => ({ name, role: 'hop', node: name, address: `172.30.0.1${name.slice(1)}`, nodeAddress: `172.30.0.1${name.slice(1)}`, uid }); // prettier-ignore
      const path = {
        text: '',
        places: [place('n1', '1'), { ...place('n2', '2'), name: 'pod', address: '10.244.2.250' }],
      };
      const at = (name: string, node: string, operation: Operation): PlannedChange => ({ place: name, node, reach: '', cause: '', operations: [operation] }); // prettier-ignore
      const whole: Operation = { kind: 'process.restart', name: 'kube-proxy', before: '1:1' };
      const running = async (node: string): Promise<number> =>
        Number(await inLab('kubernetes', `kubectl get pods -A --field-selector spec.nodeName=${node},status.phase=Running -o name | wc -l`)); // prettier-ignore
      const touched = await radiusOf({ inventory, shells }, { path, windows: [] }, [at('n1', 'n1', whole)]);
      expect({ ...touched, services: touched.services.toSorted() }).toEqual({ flows: null, udp: expect.any(Number), pods: await running('n1'), services: ['kube-system/kube-dns', 'shop/echo', 'shop/far'] }); // prettier-ignore
      expect(touched.udp).toBeGreaterThan(0);
      expect(await radiusOf({ inventory, shells }, { path, windows: [] }, [at('pod', 'n2', whole)])).toEqual({ flows: null, pods: 1, services: ['shop/far', 'shop/unused'] }); // prettier-ignore
      const entry: Operation = { kind: 'conntrack.delete', source: '10.244.1.9', sourcePort: 1, destination: '10.244.2.250', destinationPort: 9001, replySource: '10.244.2.250' }; // prettier-ignore
      expect(await radiusOf({ inventory, shells }, { path, windows: [] }, [at('n1', 'n1', entry)])).toEqual({ flows: 1, exact: true, services: ['shop/far'] }); // prettier-ignore
    } finally {
      await shells.close();
      await inLab('kubernetes', 'kubectl -n shop delete service far unused; kubectl -n shop delete endpointslice far-1 unused-1 --ignore-not-found'); // prettier-ignore
    }
  }, 90_000);

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
      await guard.arm(site, held, 15, [{ kind: 'sysctl.set', key, before, after: before + 7 }]);
      await guard.apply(site, held, 0);
      expect(await value()).toBe(String(before + 7));
      // Whoever cannot reach the engine in this moment still hears of it.
      expect((await heldOnNodes(inventory)).held.map(({ id }) => id)).toContain(held.id);
      await inLab('kubernetes', 'kubectl -n undrop delete pod -l app.kubernetes.io/component=changer --grace-period=0 --force 2>/dev/null'); // prettier-ignore
      expect(await value()).toBe(String(before + 7));
      await until('the node has put it back', async () => (await value()) === String(before), 25_000);
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
