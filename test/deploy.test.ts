import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse, parseAllDocuments } from 'yaml';
import { rightsOf } from '../cluster/rights.ts';
import { Inventory } from '../domain/inventory.ts';
import { Policy } from '../domain/policy.ts';
import { down, inLab, kubeconfig, kubectl, up } from '../lab/lab.ts';
import { agentPod } from '../nodes/shells/kubernetes/jobs.ts';
import { loadRunbook } from '../runbooks/load.ts';
import { temporalBinary } from '../worker/binary.ts';
import { Commands } from './support/commands.ts';
import { root } from './support/imports.ts';
import { real, sh } from './support/machine.ts';

const chart = join(root, 'deploy/chart');
/** Not the namespace that the lab itself makes. */
const namespace = 'undrop-chart';
const buildMs = 900_000;

interface Rule {
  apiGroups: string[];
  resources: string[];
  resourceNames?: string[];
  verbs: string[];
}
interface Container {
  image: string;
  command?: string[];
  args?: string[];
  env?: { name: string; value?: string }[];
  ports?: unknown[];
  securityContext: Record<string, unknown>;
}
interface Pod {
  hostPID?: boolean;
  hostNetwork?: boolean;
  automountServiceAccountToken?: boolean;
  tolerations?: object[];
  volumes?: object[];
  containers: Container[];
}
interface Item {
  kind: string;
  metadata: { name: string; namespace?: string };
  rules?: Rule[];
  spec?: { template?: { metadata: { labels: Record<string, string> }; spec: Pod } };
  data?: Record<string, string>;
}

let helm = '';
/** What helm prints with these values. @throws Error with its complaint */
const rendered = (...values: string[]): string =>
  sh(helm, 'template', 'prod', chart, '--namespace', 'net', ...values.flatMap((value) => ['--set', value]));
const items = (...values: string[]): Item[] =>
  parseAllDocuments(rendered(...values)).map((document) => document.toJS() as Item);
const named = (all: Item[], kind: string, name: string): Item => {
  const item = all.find((one) => one.kind === kind && one.metadata.name === name);
  if (!item) throw new Error(`no ${kind} ${name} among ${all.map((one) => `${one.kind} ${one.metadata.name}`).join(', ')}`); // prettier-ignore
  return item;
};
const pod = (all: Item[], kind: string, name: string): Pod => named(all, kind, name).spec?.template?.spec as Pod;
const containers = (all: Item[]): Container[] => all.flatMap(({ spec }) => spec?.template?.spec.containers ?? []);
const complaint = (...values: string[]): string => {
  try {
    rendered(...values);
  } catch (error) {
    return (error as { stderr: string }).stderr;
  }
  return '';
};

const worker = 'temporal.address=temporal.example:7233';

/** Each right as `scope verb group/resource`; scope is `cluster`, `own` or another namespace. */
const granted = (all: Item[]): string[] =>
  all
    .flatMap(({ rules = [], metadata }) =>
      rules.flatMap(({ apiGroups, resources, verbs, resourceNames = [] }) => {
        const scope = metadata.namespace === 'net' ? 'own' : (metadata.namespace ?? 'cluster');
        return verbs.map((verb) => `${scope} ${verb} ${apiGroups.join()}/${[resources.join(), ...resourceNames].join(' ')}`); // prettier-ignore
      }),
    )
    .toSorted();

/** Kinds of the client library as resources of the API. */
const resources: Record<string, string> = {
  Node: '/nodes', Pod: '/pods', Service: '/services', ConfigMap: '/configmaps kube-proxy', Event: '/events', Job: 'batch/jobs',
  EndpointSlice: 'discovery.k8s.io/endpointslices', NetworkPolicy: 'networking.k8s.io/networkpolicies', Lease: 'coordination.k8s.io/leases',
}; // prettier-ignore
/** Every account may ask what it may. */
const free = 'SelfSubjectAccessReview';

/** The same of what the code calls. */
function asked(): string[] {
  const found = new Set(['own get /pods/exec', 'own create /pods/exec']);
  for (const folder of ['cluster', 'nodes/shells/kubernetes'])
    for (const file of readdirSync(join(root, folder)).filter((name) => name.endsWith('.ts'))) {
      const calls = readFileSync(join(root, folder, file), 'utf8').matchAll(
        /\.(list|read|create|delete|patch|replace)(Namespaced)?([A-Z]\w+?)(ForAllNamespaces)?\(/g,
      );
      for (const [call, verb = '', inOne, kind = ''] of calls) {
        if (kind === free) continue;
        const resource = resources[kind];
        if (resource === undefined) throw new Error(`${folder}/${file}: which right does ${call} need?`);
        const own = inOne && (folder !== 'cluster' || kind === 'Lease');
        // Events of nodes are written by the newer group, into this namespace.
        if (kind === 'Event' && verb === 'create') found.add('default create events.k8s.io/events');
        else
          found.add(
            `${kind === 'ConfigMap' ? 'kube-system' : own ? 'own' : 'cluster'} ${verb === 'read' ? 'get' : verb} ${resource}`,
          );
      }
    }
  // Objects that remedies propose to change are read by what the runbook calls them.
  const names = new Map<string, Set<string>>();
  for (const { object } of loadRunbook().remedies.flatMap(({ propose }) =>
    propose.flatMap(({ to }) => to.filter((one) => 'object' in one)),
  )) {
    const kind = `${object.apiVersion.includes('/') ? object.apiVersion.split('/')[0] : ''}/${object.kind.toLowerCase()}s`;
    if (object.name !== 'kube-proxy') names.set(kind, (names.get(kind) ?? new Set()).add(object.name));
  }
  for (const [kind, all] of names) found.add(`cluster get ${kind} ${[...all].join(' ')}`);
  return [...found].toSorted();
}

/** The same of the tables of docs/deploy.md. */
const listed = (text = ''): string[] =>
  [...text.matchAll(/^\| (cluster|own|kube-system|default) +\| `(\S*)` +\| `([^`]+)` +\| ([a-z, ]+?) +\|/gm)]
    .flatMap(([, scope, group, resource, verbs = '']) =>
      verbs.split(', ').map((verb) => `${scope} ${verb} ${group === 'core' ? '' : group}/${resource}`),
    )
    .toSorted();

real('go', 'flock')('the chart', () => {
  beforeAll(() => {
    helm = execFileSync('sh', [join(root, 'deploy/helm/build.sh')], { encoding: 'utf8' }).trim();
  }, buildMs);

  test('has nothing that helm would complain about', () => {
    expect(sh(helm, 'lint', '--strict', chart)).toContain('0 chart(s) failed');
  });

  test('as it comes it installs agents and roles, and nothing privileged', () => {
    const all = items();
    expect(all.map(({ kind, metadata }) => `${kind} ${metadata.name}`).toSorted()).toEqual([
      'ClusterRole undrop:net:read',
      'DaemonSet undrop-agent',
      'Role undrop',
      'Role undrop:net:read',
      'ServiceAccount undrop-agent',
    ]);
    const agent = pod(all, 'DaemonSet', 'undrop-agent');
    expect(agent).toMatchObject({ hostPID: true, hostNetwork: true, automountServiceAccountToken: false, tolerations: [{ operator: 'Exists' }] }); // prettier-ignore
    expect(agent.volumes).toBeUndefined();
    expect(agent.containers.map(({ ports }) => ports)).toEqual([undefined]);
    expect(rendered()).not.toContain('privileged: true');
    const { template } = named(all, 'DaemonSet', 'undrop-agent').spec ?? {};
    expect(template?.metadata.labels).toMatchObject({ 'app.kubernetes.io/name': 'undrop', 'app.kubernetes.io/component': 'agent' }); // prettier-ignore
  });

  test('an agent may exactly what the one for a while may', () => {
    const spec = Inventory.parse({ name: 'prod', kubernetes: {} }).kubernetes;
    const [made] = agentPod('n1', spec as NonNullable<typeof spec>).containers;
    const [installed] = pod(items(), 'DaemonSet', 'undrop-agent').containers;
    expect(installed?.securityContext).toEqual(made?.securityContext);
    expect(installed).toMatchObject({ name: made?.name, image: made?.image, resources: made?.resources });
  });

  test('a privileged pod is there only with changer.enabled, and the worker is none', () => {
    const all = items('changer.enabled=true', worker);
    const privileged = containers(all).filter(({ securityContext }) => securityContext['privileged']);
    expect(privileged).toHaveLength(1);
    expect(pod(all, 'DaemonSet', 'undrop-changer')).toMatchObject({
      automountServiceAccountToken: false,
      containers: privileged,
      volumes: [{ hostPath: { path: '/run/undrop', type: 'DirectoryOrCreate' } }],
    });
    expect(pod(all, 'Deployment', 'undrop-worker')).toMatchObject({
      securityContext: { runAsNonRoot: true },
      containers: [{ securityContext: { readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } } }],
    }); // prettier-ignore
  });

  test('no secret stands in words of a command or in a value of the environment', () => {
    const all = items(
      worker,
      'temporal.apiKeySecret=key',
      'temporal.tls.clientSecret=pair',
      'temporal.tls.caSecret=ca',
    );
    expect(containers(all).map(({ command = [], args = [] }) => [...command, ...args])).toEqual([['sleep', 'infinity'], ['worker']]); // prettier-ignore
    const [{ env = [] } = {}] = pod(all, 'Deployment', 'undrop-worker').containers;
    expect(env.find(({ name }) => name === 'TEMPORAL_API_KEY')).toEqual({
      name: 'TEMPORAL_API_KEY',
      valueFrom: { secretKeyRef: { name: 'key', key: 'api-key' } },
    });
    expect(all.filter(({ kind }) => kind === 'Secret')).toEqual([]);
  });

  test('the rights are those that the code asks for, and those that the document lists', () => {
    const [reading, changing] = [granted(items(worker)), granted(items(worker, 'changer.enabled=true'))];
    expect(changing).toEqual(asked());
    const [first, second] = readFileSync(join(root, 'docs/deploy.md'), 'utf8').split('With `changer.enabled` also:');
    expect(listed(first)).toEqual(reading);
    expect([...listed(first), ...listed(second)].toSorted()).toEqual(changing);
    expect(granted(items())).toEqual(reading);
    for (const { verb, group, resource, namespace: where } of rightsOf('net')) {
      const scope = where === 'net' ? 'own' : (where ?? 'cluster');
      expect(changing.map((right) => right.split(' ').slice(0, 3).join(' '))).toContain(
        `${scope} ${verb} ${group}/${resource}`,
      );
    }
  });

  test('the inventory in the cluster is one that undrop reads, also with fields of the installer', () => {
    const inventory = (...values: string[]): Inventory =>
      Inventory.parse(
        parse(named(items(worker, ...values), 'ConfigMap', 'undrop-inventory').data?.['undrop.yaml'] ?? ''),
      );
    expect(inventory()).toMatchObject({ name: 'prod', kubernetes: { namespace: 'net', image: 'undrop/agent:0.1.0' } });
    expect(inventory('inventory.audit.profile[0].settings.nf_conntrack_max=262144').audit.profile).toMatchObject([
      { nodes: ['*'], settings: { nf_conntrack_max: 262_144 } },
    ]);
    expect(inventory('inventory.approval.quorum=2', 'inventory.kubernetes.watch={service/shop/dns}')).toMatchObject({
      name: 'prod',
      kubernetes: { namespace: 'net', watch: ['service/shop/dns'] },
      approval: { quorum: 2 },
    });
  });

  test('a policy comes with its own ConfigMap, or somebody else’s, and the inventory names it', () => {
    const file = '/etc/undrop-policy/policy.yaml';
    const own = items(worker, 'policy.content.rules[0].name=all', 'policy.content.rules[0].approvals[0].quorum=2');
    const { rules } = Policy.parse(parse(named(own, 'ConfigMap', 'undrop-policy').data?.['policy.yaml'] ?? ''));
    expect(rules).toMatchObject([{ name: 'all', mode: 'shadow', approvals: [{ quorum: 2 }] }]);
    for (const [all, name] of [[own, 'undrop-policy'], [items(worker, 'policy.configMap=reviewed'), 'reviewed']] as const) {
      expect(parse(named(all, 'ConfigMap', 'undrop-inventory').data?.['undrop.yaml'] ?? '')).toMatchObject({ policy: file });
      expect(pod(all, 'Deployment', 'undrop-worker').volumes).toContainEqual({ name: 'policy', configMap: { name } });
    }
    expect(rendered(worker)).not.toContain('undrop-policy');
  }); // prettier-ignore

  test.each([
    ['changer.enabeld=true', "at '/changer': additional properties 'enabeld' not allowed"],
    ['agent.enabled=3', "at '/agent/enabled': got number, want boolean"],
    ['temporal.address=temporal.example', "at '/temporal/address'"],
    ['images.agent.pullPolicy=Sometimes', "at '/images/agent/pullPolicy'"],
    ['inventory.nodes.n1=there', "at '/inventory': additional properties 'nodes' not allowed"],
    ['policy.content.rules[0].name=x', "at '/policy/content/rules/0': missing property 'approvals'"],
    [`${worker},policy.configMap=x,policy.content.breaker.of=3`, 'give configMap or content, not both'],
    [`${worker},worker.replicas=2`, 'more than one need data that they share'],
  ])('%s is refused with one clear error', (value, says) => {
    const said = complaint(value);
    expect(said).toContain(says);
    expect(said.trim().split('\n').length).toBeLessThanOrEqual(4);
  });
});

real(
  'ip',
  'nsenter',
  'openssl',
  'conntrack',
  'go',
)('the chart in a real cluster', () => {
  const commands = new Commands();
  let home: string;
  const inCluster = (text: string): string => sh(kubectl, '--kubeconfig', kubeconfig, ...text.split(' '));
  const install = (what: 'install' | 'upgrade', ...values: string[]): string =>
    sh(helm, what, 'undrop', chart, '--kubeconfig', kubeconfig, '--namespace', namespace, '--wait', '--timeout', '90s',
      ...['images.agent.repository=localhost/undrop/agent', 'images.agent.tag=dev', 'images.agent.pullPolicy=Never', 'namespace.create=true', ...values]
        .flatMap((value) => ['--set', value]), ...(what === 'install' ? ['--create-namespace'] : []), '--take-ownership'); // prettier-ignore
  /** A lab that was up before is used as it is, and stays. */
  let ours = false;

  beforeAll(async () => {
    home = mkdtempSync(join(tmpdir(), 'undrop-deploy-'));
    helm = execFileSync('sh', [join(root, 'deploy/helm/build.sh')], { encoding: 'utf8' }).trim();
    try {
      inCluster('get --raw /readyz');
    } catch {
      ours = true;
      await up('kubernetes');
    }
  }, buildMs);
  afterAll(async () => {
    await commands.end();
    rmSync(home, { recursive: true, force: true });
    if (ours) return down('kubernetes');
    await inLab('kubernetes', `reap temporal; on n1 ctr -n k8s.io images rm localhost/undrop/worker:dev || true
      kubectl delete namespace ${namespace} --ignore-not-found --timeout=60s
      kubectl delete clusterrole,clusterrolebinding undrop:${namespace}:read --ignore-not-found
      kubectl -n kube-system delete role,rolebinding undrop:${namespace}:read --ignore-not-found`); // prettier-ignore
  }, 120_000);

  test('the API server accepts every object of it', () => {
    const all = join(home, 'all.yaml');
    const values = [worker, 'changer.enabled=true', 'networkPolicy.enabled=true', 'worker.persistence.enabled=true'];
    sh('sh', '-c', `"$0" template undrop "$1" -n default ${values.map((value) => `--set ${value}`).join(' ')} >"$2"`, helm, chart, all); // prettier-ignore
    const said = inCluster(`apply --dry-run=server -f ${all}`);
    expect(said.match(/created \(server dry run\)/g)).toHaveLength(18);
  });

  test('agents are installed with a namespace that lets them in, and undrop diagnoses by them', async () => {
    install('install');
    expect(inCluster(`get namespace ${namespace} -o jsonpath={.metadata.labels}`)).toContain('"pod-security.kubernetes.io/enforce":"privileged"'); // prettier-ignore
    expect(inCluster(`-n ${namespace} get daemonset undrop-agent -o jsonpath={.status.numberReady}`)).toBe('2');
    const inventory = join(home, 'undrop.yaml');
    sh('sh', '-c', `echo "{name: chart, kubernetes: {kubeconfig: ${kubeconfig}, namespace: ${namespace}, image: localhost/undrop/agent:dev}}" >"$0"`, inventory); // prettier-ignore
    const env = { UNDROP_DATA: join(home, 'data') };
    const command = commands.start(['diagnose', 'pod/shop/client->service/shop/echo', '-i', inventory], env);
    expect([await command.ended, command.stderr]).toEqual([0, expect.anything()]);
    expect(command.stdout).toContain('lost');
  }, 180_000);

  test('a worker in the cluster diagnoses with no right but those of the chart', async () => {
    const image = join(home, 'worker.tar');
    sh('sh', join(root, 'deploy/image/assemble.sh'), 'worker', image);
    expect(statSync(image).size).toBeLessThan(400e6);
    const temporal = await temporalBinary(() => {});
    // Temporal runs beside the control plane, and the lab's pods have no way there: its machines route only among themselves.
    await inLab('kubernetes', `on n1 ctr -n k8s.io images import - <${image}
      for machine in cp sw; do for i in 1 2; do on $machine ip route replace 10.244.$i.0/24 via 172.30.0.1$i; done; done
      spawn temporal sw ${temporal} server start-dev --headless --ip 0.0.0.0 --port 7233 --log-level error
      until_ok 30 on sw ${temporal} operator cluster health --address 172.30.0.1:7233`); // prettier-ignore
    install(
      'upgrade',
      'temporal.address=172.30.0.1:7233',
      'images.worker.repository=localhost/undrop/worker',
      'images.worker.tag=dev',
      'images.worker.pullPolicy=Never',
      'worker.nodeSelector.kubernetes\\.io/hostname=n1',
      'networkPolicy.enabled=true',
    );
    const inWorker = `-n ${namespace} exec deploy/undrop-worker -- undrop`;
    const report = inCluster(`${inWorker} diagnose pod/shop/client->service/shop/echo`);
    expect(report).toContain('lost');
    expect(report).not.toContain('not allowed');
    expect(inCluster(`${inWorker} diagnose service/shop/echo`)).toContain('lost');
    expect(inCluster(`-n ${namespace} logs deploy/undrop-worker`)).toContain('working on undrop-undrop at 172.30.0.1:7233'); // prettier-ignore
    expect(inCluster(`-n ${namespace} get jobs -o name`)).toBe('');
    expect(inCluster(`${inWorker} doctor`)).toMatch(/ok +n1: Linux[^]*ok +n2: Linux/);
    await inLab('kubernetes', `may() { kubectl auth can-i --as=system:serviceaccount:${namespace}:undrop-worker -q "$@"; }
      may_not() { if may "$@"; then echo "it may $*" >&2; return 1; fi; }
      may create pods --subresource=exec -n ${namespace}; may create jobs.batch -n ${namespace}
      may_not create pods --subresource=exec -n shop; may_not create jobs.batch -n shop; may_not get secrets -n ${namespace}
      may_not get nodes --subresource=proxy; may_not patch nodes; may_not patch services -n shop; may_not create events.events.k8s.io -n default`); // prettier-ignore
  }, 400_000);
});
