import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import type { Finding } from '../cli/commands/doctor.ts';
import { checkManagement } from '../cli/management.ts';
import { followDiagnosis } from '../cli/diagnosing.ts';
import { newRun, startDiagnosis } from '../client/start.ts';
import type { Session } from '../cli/session.ts';
import type { Inventory } from '../domain/inventory.ts';
import type { Conclusion } from '../domain/verdict.ts';
import { inLab, kubeconfig, labInventory } from '../lab/lab.ts';
import { evidenceStore } from '../worker/evidence.ts';
import { real } from './support/machine.ts';
import { LabRoad } from './support/lab-road.ts';
import { diagnosed } from './support/road.ts';
import { until } from './support/until.ts';

const target = 'pod/shop/client->service/shop/echo';
const kubectl = (line: string): Promise<string> => inLab('kubernetes', line, line);

let road: LabRoad;
let session: Session;

/** A session of its own: a worker keeps what it has opened, and these tests are about what cannot be opened. */
const inventoryWith = (name: string, more: Partial<NonNullable<Inventory['kubernetes']>>): Inventory => {
  const { kubernetes, ...rest } = labInventory('kubernetes');
  if (!kubernetes) throw new Error('the lab is a cluster');
  return { ...rest, name, kubernetes: { ...kubernetes, ...more } };
};

const conclusionOf = (digest: string): Promise<Conclusion> => evidenceStore().get<Conclusion>(digest);

real(
  'ip',
  'iptables',
  'nft',
  'conntrack',
)('where a cluster cannot be seen whole', () => {
  beforeAll(async () => {
    road = new LabRoad('kubernetes');
    session = await road.begin(labInventory('kubernetes'));
  }, 180_000);
  afterAll(() => road.close(), 60_000);

  test('an account that may not exec: every place is named with what is missing, and nothing is concluded', async () => {
    await kubectl(`kubectl apply -f - <<'END'
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: onlooker, namespace: undrop}}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: onlooker},
 roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view},
 subjects: [{kind: ServiceAccount, name: onlooker, namespace: undrop}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: onlooker-nodes},
 rules: [{apiGroups: [""], resources: [nodes], verbs: [get, list]}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: onlooker-nodes},
 roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: onlooker-nodes},
 subjects: [{kind: ServiceAccount, name: onlooker, namespace: undrop}]}
END`);
    const config = parse(readFileSync(kubeconfig, 'utf8')) as { users: { name: string; user: object }[] };
    const token = (await kubectl('kubectl -n undrop create token onlooker')).trim();
    config.users = config.users.map(({ name }) => ({ name, user: { token } }));
    const file = join(road.data, 'onlooker.kubeconfig');
    writeFileSync(file, stringify(config), { mode: 0o600 });
    const onlooker = await road.session(inventoryWith('onlooker', { kubeconfig: file }));
    await expect(diagnosed(onlooker, target)).rejects.toThrow(
      /no place of .* can be read: .*may not exec into undrop\/.*: it needs get and create on pods\/exec/,
    );
  }, 60_000);

  test('a kubeconfig that is not there, and a context that it has not', async () => {
    const nowhere = await road.session(inventoryWith('nowhere', { kubeconfig: join(road.data, 'nothing') }));
    await expect(diagnosed(nowhere, target)).rejects.toThrow(/the kubeconfig .*nothing cannot be read: ENOENT/);
    const elsewhere = await road.session(inventoryWith('elsewhere', { context: 'production' }));
    await expect(diagnosed(elsewhere, target)).rejects.toThrow(/the kubeconfig has no context production; it has: /);
  }, 60_000);

  test('no agent on one node: one is made for the run, and is gone afterwards', async () => {
    await kubectl(
      `kubectl -n undrop patch daemonset undrop-agent -p '{"spec": {"template": {"spec": {"nodeSelector": {"kubernetes.io/hostname": "n1"}}}}}' && kubectl -n undrop rollout status daemonset/undrop-agent --timeout=30s`,
    );
    try {
      const lone = await road.session(inventoryWith('lone', {}));
      const result = await diagnosed(lone, target);
      const { unseen } = await conclusionOf(result.conclusion);
      expect([result.kind, unseen]).toEqual(['no-loss', {}]);

      await kubectl('kubectl label namespace undrop pod-security.kubernetes.io/enforce=baseline --overwrite');
      const guarded = await road.session(inventoryWith('guarded', {}));
      const partly = await diagnosed(guarded, target);
      const seen = await conclusionOf(partly.conclusion);
      expect(Object.keys(seen.unseen)).toEqual(expect.arrayContaining(['n2']));
      expect(seen.unseen['n2']).toMatch(/n2 has no agent .* gets no pod: .*violates PodSecurity "baseline/);
    } finally {
      await kubectl('kubectl label namespace undrop pod-security.kubernetes.io/enforce=privileged --overwrite');
      await kubectl(
        `kubectl -n undrop patch daemonset undrop-agent -p '{"spec": {"template": {"spec": {"nodeSelector": null}}}}' && kubectl -n undrop rollout status daemonset/undrop-agent --timeout=30s`,
      );
    }
  }, 150_000);

  test('the API server restarts in the middle: sessions go on or are made anew, and the run ends', async () => {
    const handle = await startDiagnosis(session, newRun(), {
      target,
      requester: 'alert',
      windowMs: 4000,
      propose: false,
    });
    await kubectl("on cp sh -c 'kill -9 $(cat /run/kube-apiserver.pid)'");
    const result = await followDiagnosis(handle, true);
    expect(result.kind).toBe('no-loss');
  }, 90_000);

  test('a node whose table is full: sessions from before see it, a new one is refused in time, and the run says why', async () => {
    await diagnosed(session, target);
    await kubectl('ct_fill n1 0');
    try {
      const warm = await diagnosed(session, target);
      expect(warm.roots).toEqual([{ cause: 'CT-FULL', place: 'n1' }]);
      const cold = await road.session(inventoryWith('cold', {}));
      const started = Date.now();
      const result = await diagnosed(cold, target);
      const { unseen } = await conclusionOf(result.conclusion);
      expect(unseen['n1']).toMatch(/no new session within 8 s; Kubernetes calls the node Ready: a node whose conntrack table is full refuses new sessions/); // prettier-ignore
      expect(Date.now() - started).toBeLessThan(60_000);
    } finally {
      await kubectl('ct_unfill n1; until_ok 30 answers client 16');
    }
  }, 180_000);

  test('with the file that doctor proposes a full node takes a new exec; without it, it refuses', async () => {
    const exec = (): Promise<string> =>
      kubectl('agent=$(kubectl -n undrop get pod -l app.kubernetes.io/component=agent --field-selector spec.nodeName=n1 -o name); timeout 6 "$STATE/kubectl" --kubeconfig "$STATE/admin.kubeconfig" -n undrop exec $agent -- echo in'); // prettier-ignore
    const blind = async (): Promise<Finding[]> => {
      const findings: Finding[] = [];
      for await (const finding of checkManagement(inventoryWith('blind', {}))) findings.push(finding);
      return findings;
    };
    const [found] = await blind();
    expect(found).toMatchObject({ state: 'warn', says: expect.stringMatching(/^n1, n2: the way in is tracked \(kubelet port 10250/) }); // prettier-ignore
    expect(await exec()).toBe('in\n');
    await kubectl('ct_fill n1 0');
    try {
      await expect(exec()).rejects.toThrow();
      await kubectl(`on n1 nft -f - <<'END'\n${found?.proposal?.text}\nEND`);
      expect(await exec()).toBe('in\n');
      // Loading it twice is loading it once.
      await kubectl(`on n1 nft -f - <<'END'\n${found?.proposal?.text}\nEND`);
      expect((await blind()).map(({ says }) => says.split(':')[0])).toEqual(['n2']);
      const rules = await kubectl('on n1 nft list table inet notrack_management');
      expect(rules.match(/dport 10250/g)).toHaveLength(1);
    } finally {
      await kubectl('ct_unfill n1; on n1 nft delete table inet notrack_management || true; until_ok 30 answers client 16'); // prettier-ignore
    }
    expect(await exec()).toBe('in\n');
  }, 120_000);

  test('a node is cut off in the middle: it is named, and the rest is judged', async () => {
    const handle = await startDiagnosis(session, newRun(), {
      target,
      requester: 'alert',
      windowMs: 4000,
      propose: false,
    });
    try {
      await until(
        'it has begun',
        async () => (await handle.query<{ current?: string }>('progress')).current === 'control',
        20_000,
      );
      await kubectl('on sw ip link set n2 down');
      const result = await followDiagnosis(handle, true);
      const { unseen } = await conclusionOf(result.conclusion);
      expect(Object.keys(unseen)).toContain('n2');
      expect(result.kind).not.toBe('no-loss');
    } finally {
      await kubectl('on sw ip link set n2 up');
    }
  }, 150_000);
});
