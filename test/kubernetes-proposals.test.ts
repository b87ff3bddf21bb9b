import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { followRemediation } from '../cli/remediating.ts';
import { startRemediation } from '../client/start.ts';
import type { Session } from '../cli/session.ts';
import { digestOf } from '../domain/digest.ts';
import type { RemediateResult } from '../domain/runs.ts';
import { inLab, kubeconfig, labInventory } from '../lab/lab.ts';
import { real } from './support/machine.ts';
import { LabRoad } from './support/lab-road.ts';
import { Person, approvalBy, diagnosed, planned } from './support/road.ts';

const target = 'pod/shop/client->service/shop/echo';
const [alice, bob] = [new Person('alice'), new Person('bob')];
const lab = labInventory('kubernetes');
const inventory = {
  ...lab,
  // A full node accepts no new session, and the one for changes is only opened for a plan.
  kubernetes: { ...lab.kubernetes!, watch: ['service/shop/echo'] },
  approval: approvalBy([alice, bob]),
};
const kubectl = (line: string): Promise<string> => inLab('kubernetes', line, line.slice(0, 200));
/** The limit is the whole kernel's. */
const max = Number(readFileSync('/proc/sys/net/netfilter/nf_conntrack_max', 'utf8'));

let road: LabRoad;
let session: Session;

/** kube-proxy's ConfigMap as kubeadm writes it; the lab's own proxies read a file. */
async function configured(conntrack: string, ...marks: string[]): Promise<void> {
  const config = `apiVersion: kubeproxy.config.k8s.io/v1alpha1\nbindAddress: 0.0.0.0\nclusterCIDR: 10.244.0.0/16\nconntrack:\n${conntrack}kind: KubeProxyConfiguration\nmode: iptables\n`;
  await kubectl(`kubectl -n kube-system create configmap kube-proxy --from-literal=kubeconfig.conf=kept --from-literal=config.conf='${config}' --dry-run=client -o yaml | kubectl -n kube-system replace -f -`); // prettier-ignore
  for (const mark of marks) await kubectl(`kubectl -n kube-system ${mark}`);
}
const mapData = async (): Promise<Record<string, string>> =>
  JSON.parse(await kubectl("kubectl -n kube-system get configmap kube-proxy -o jsonpath='{.data}'")) as Record<string, string>; // prettier-ignore

/** A remediation that ends by itself, since there is nothing to approve. */
async function proposed(of: Session): Promise<RemediateResult> {
  const handle = await startRemediation(of, await diagnosed(of, target, bob.name), bob.name);
  return followRemediation(of, handle, true);
}

real(
  'ip',
  'iptables',
  'nft',
  'conntrack',
)('what others own in a cluster is proposed, and never changed', () => {
  beforeAll(async () => {
    road = new LabRoad('kubernetes');
    session = await road.begin(inventory);
  }, 180_000);
  afterEach(() => road.heal(), 60_000);
  afterAll(() => road.close(), 60_000);

  test('the overlay has no room: the exact MTU in the file that pods get theirs from, and with it nothing is lost', async () => {
    await road.breaks('k8s-overlay-mtu');
    const file = '/etc/cni/net.d/lab.conflist';
    const before = await kubectl(`on n1 cat ${file}`);
    const result = await proposed(session);
    expect(result).toMatchObject({ outcome: 'proposed', says: expect.stringMatching(/undrop changes nothing for this; one change is proposed/), decisions: [], changes: [] }); // prettier-ignore
    expect(result.signed).toBeUndefined();
    const [proposal] = result.proposals ?? [];
    expect(proposal).toMatchObject({
      place: 'client.shop',
      cause: 'MTU-MISMATCH',
      object: `${file} on n1`,
      fields: [{ field: 'plugins.0.mtu', from: '1450', to: '1350' }],
      why: expect.stringMatching(
        /MTU of 1,350: n[12] eth0 carries 1,400 bytes, less 50 for the tunnel; 1,350 bytes arrive, 1,400 do not/,
      ),
    });
    expect(proposal?.diff.split('\n').filter((line) => /^[-+] /.test(line))).toEqual(['-      "mtu": 1450,', '+      "mtu": 1350,']); // prettier-ignore
    expect(await kubectl(`on n1 cat ${file}`)).toBe(before);
    const report = readFileSync(result.report ?? '', 'utf8');
    expect(report).toMatch(/: proposed\n[^]*```diff\n[^]*\n\+ +"mtu": 1350,/);
    const mtu = (bytes: number): Promise<string> =>
      kubectl(`for pod in client $(pod_on n1 echo) $(pod_on n2 echo); do onpod $pod ip link set eth0 mtu ${bytes}; done; for n in n1 n2; do for d in flannel.1 cni0; do on $n ip link set $d mtu ${bytes}; done; done`); // prettier-ignore
    // As a network add-on would do it, for its devices and new pods.
    await mtu(1350);
    try {
      expect((await diagnosed(session, target)).kind).toBe('no-loss');
    } finally {
      // A tunnel's device takes no more than what is underneath.
      await road.heal();
      await mtu(1450);
    }
  }, 120_000);

  test('a full table: the plan also has the patch of kube-proxy’s own limit, which the API takes once', async () => {
    await road.breaks('k8s-conntrack-full');
    await configured(
      '  maxPerCore: 16 # small nodes\n  min: 4096\n  tcpCloseWaitTimeout: null\n',
      "annotate configmap kube-proxy argocd.argoproj.io/tracking-id='proxies:/ConfigMap:kube-system/kube-proxy'",
    );
    const before = await mapData();
    const diagnosis = await diagnosed(session, target, bob.name);
    expect(diagnosis.roots).toEqual([{ cause: 'CT-FULL', place: 'n1' }]);
    const { signed } = await planned(session, diagnosis, bob.name);
    expect(signed.plan.changes.flatMap(({ operations }) => operations.map(({ kind }) => kind))).toEqual(['conntrack.evict']); // prettier-ignore
    const { proposals: [proposal] = [], ...rest } = signed.plan;
    expect(proposal).toMatchObject({
      place: 'n1',
      cause: 'CT-FULL',
      object: 'ConfigMap kube-system/kube-proxy, config.conf',
      fields: [{ field: 'conntrack.min', from: '4096', to: String(4 * max) }],
      owner: 'Argo CD (application proxies) undoes a kubectl patch; change it in the repository that it reads, by a pull request', // prettier-ignore
      afterwards: expect.stringContaining('rollout restart daemonset/kube-proxy'),
    });
    expect(proposal?.diff.split('\n').filter((line) => /^[-+] /.test(line))).toEqual(['-  min: 4096', `+  min: ${4 * max}`]); // prettier-ignore
    expect(digestOf(signed.plan)).toBe(signed.digest);
    expect(digestOf(rest)).not.toBe(signed.digest);
    expect(await mapData()).toEqual(before);
    await kubectl(proposal!.command);
    const now = await mapData();
    expect(now).toEqual({ ...before, 'config.conf': before['config.conf']?.replace('min: 4096', `min: ${4 * max}`) });
    await expect(kubectl(proposal!.command)).rejects.toThrow(/the object has been modified/);
  }, 180_000);

  test('a limit that somebody lowered: the line that lowers it, in the node’s own file', async () => {
    const file = '/etc/sysctl.d/60-tuned.conf';
    await road.breaks('k8s-conntrack-full');
    await configured(`  maxPerCore: 16\n  min: ${2 * max}\n`);
    await kubectl(`on n1 sh -c 'printf "# by hand\\nnet.netfilter.nf_conntrack_max = ${max}\\n" >${file}'`);
    try {
      const diagnosis = await diagnosed(session, target, bob.name);
      expect(diagnosis.roots).toEqual([{ cause: 'CT-MAX-DRIFT', place: 'n1' }]);
      const { signed } = await planned(session, diagnosis, bob.name);
      expect(signed.plan.proposals).toMatchObject([
        { object: `${file} on n1`, fields: [{ field: 'net.netfilter.nf_conntrack_max', from: String(max), to: String(2 * max) }] }, // prettier-ignore
      ]);
    } finally {
      await kubectl(`on n1 rm ${file}`);
    }
    const { signed } = await planned(session, await diagnosed(session, target, bob.name), bob.name);
    expect(signed.plan.proposals).toMatchObject([
      { object: '', says: expect.stringMatching(/no file of sysctl\.d on the node sets nf_conntrack_max/) },
    ]);
  }, 180_000);

  test('an account that may not read the object says so, and proposes in words', async () => {
    await road.breaks('k8s-random-drop');
    await kubectl(`kubectl apply -f - <<'END'
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: guest, namespace: undrop}}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: guest},
 roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "undrop:undrop:read"},
 subjects: [{kind: ServiceAccount, name: guest, namespace: undrop}]}
---
{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: guest, namespace: undrop},
 roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: undrop},
 subjects: [{kind: ServiceAccount, name: guest, namespace: undrop}]}
END`);
    const config = parse(readFileSync(kubeconfig, 'utf8')) as { users: { name: string; user: object }[] };
    const token = (await kubectl('kubectl -n undrop create token guest')).trim();
    config.users = config.users.map(({ name }) => ({ name, user: { token } }));
    const file = join(road.data, 'guest.kubeconfig');
    writeFileSync(file, stringify(config), { mode: 0o600 });
    const guest = await road.session({ ...inventory, name: 'guest', kubernetes: { ...inventory.kubernetes!, kubeconfig: file } }); // prettier-ignore
    const handle = await startRemediation(guest, await diagnosed(guest, target, bob.name), bob.name, {
      remedy: 'raise-conntrack-max',
      place: 'n1',
    });
    const { outcome, proposals } = await followRemediation(guest, handle, true);
    expect(outcome).toBe('proposed');
    expect(proposals).toMatchObject([
      {
        object: '',
        says: expect.stringMatching(
          /conntrack\.min of [\d,]+ in its configuration.*not exact: .*(forbidden|no configuration of kube-proxy can be read)/,
        ),
      },
    ]);
  }, 180_000);
});
