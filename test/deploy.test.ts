import { beforeAll, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { rightsOf } from '../cluster/rights.ts';
import { Inventory } from '../domain/inventory.ts';
import { Policy } from '../domain/policy.ts';
import { GatewayConfig, parseConfig } from '../gateway/config.ts';
import { agentPod } from '../nodes/shells/kubernetes/jobs.ts';
import { buildMs, chart, complaint, containers, helm, items, named, pod, rendered } from './support/chart.ts';
import { root } from './support/imports.ts';
import { real, sh } from './support/machine.ts';
import { asked, granted, listed } from './support/rights.ts';

const worker = 'temporal.address=temporal.example:7233';
const gateway = [worker, 'gateway.enabled=true'];

real('go', 'flock')('the chart', () => {
  beforeAll(() => {
    helm();
  }, buildMs);

  test('has nothing that helm would complain about', () => {
    expect(sh(helm(), 'lint', '--strict', chart)).toContain('0 chart(s) failed');
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

  test('a gateway has no right, holds no secret, and is one as long as its database is files', () => {
    const secrets = ['gateway.secrets={alerts.prod,oidc}', 'gateway.keySecret=key', 'gateway.databaseSecret=db'];
    const [one, two] = [items(...gateway), items(...gateway, ...secrets, 'gateway.replicas=2')];
    expect(granted(two)).toEqual(granted(items(worker)));
    for (const all of [one, two]) {
      const bindings = all.filter(({ kind }) => kind.endsWith('RoleBinding'));
      expect(JSON.stringify(bindings)).not.toContain('undrop-gateway');
      const its = pod(all, 'Deployment', 'undrop-gateway');
      expect(its).toMatchObject({ automountServiceAccountToken: false, securityContext: { runAsNonRoot: true } });
      expect(its.containers[0]?.securityContext).toEqual(pod(all, 'Deployment', 'undrop-worker').containers[0]?.securityContext); // prettier-ignore
    }
    expect(named(one, 'Deployment', 'undrop-gateway').spec).toMatchObject({ replicas: 1, strategy: { type: 'Recreate' } });
    expect(named(two, 'Deployment', 'undrop-gateway').spec).toMatchObject({ replicas: 2 });
    expect(named(two, 'Deployment', 'undrop-gateway').spec).not.toHaveProperty('strategy');
    expect(one.filter(({ kind }) => kind === 'PodDisruptionBudget')).toHaveLength(1);
    expect(two.filter(({ kind }) => kind === 'PodDisruptionBudget')).toHaveLength(2);
    const [{ env = [], volumeMounts = [] } = {}] = pod(two, 'Deployment', 'undrop-gateway').containers;
    expect(env).toContainEqual({ name: 'DATABASE_URL', valueFrom: { secretKeyRef: { name: 'db', key: 'url' } } });
    expect(volumeMounts).toContainEqual({ name: 'secret-alerts-prod', mountPath: '/etc/undrop-secrets/alerts.prod', readOnly: true }); // prettier-ignore
    expect(two.filter(({ kind }) => kind === 'Secret')).toEqual([]);
  }); // prettier-ignore

  test('the configuration of the gateway is one that it reads, and every field of it can be a value', () => {
    const text = named(items(...gateway, 'gateway.config.roles[0].role=view', 'gateway.config.roles[0].who={bob}'), 'ConfigMap', 'undrop-gateway').data?.['gateway.yaml'] ?? ''; // prettier-ignore
    expect(parseConfig(text, 'gateway.yaml')).toMatchObject({ listen: { host: '0.0.0.0', port: 8420 }, roles: [{ role: 'view', who: ['bob'] }] }); // prettier-ignore
    const schema = JSON.parse(readFileSync(join(chart, 'values.schema.json'), 'utf8')) as { properties: { gateway: { properties: { config: { properties: object } } } } }; // prettier-ignore
    expect(Object.keys(schema.properties.gateway.properties.config.properties).toSorted()).toEqual(Object.keys(GatewayConfig.shape).toSorted()); // prettier-ignore
  });

  test('the gateway’s way in has the host of its URL, and Prometheus gets the project’s rules where it is asked for', () => {
    const all = items(...gateway, 'gateway.config.url=https://undrop.example:8443/', 'gateway.ingress.enabled=true', 'monitoring.rules=true', 'monitoring.serviceMonitor=true', 'monitoring.labels.release=kps'); // prettier-ignore
    expect(named(all, 'Ingress', 'undrop-gateway').spec).toMatchObject({ rules: [{ host: 'undrop.example' }] });
    expect(named(all, 'PrometheusRule', 'undrop').spec).toEqual(parse(readFileSync(join(root, 'deploy/alerts/undrop-rules.yaml'), 'utf8'))); // prettier-ignore
    expect(named(all, 'ServiceMonitor', 'undrop-gateway').metadata).toMatchObject({ labels: { release: 'kps' } });
    expect(rendered(...gateway)).not.toContain('monitoring.coreos.com');
  });

  test('schedules are put in place after each install and upgrade, and go with the release', () => {
    const all = items(worker, 'schedules[0].name=hourly', 'schedules[0].every=1h');
    expect(parse(named(all, 'ConfigMap', 'undrop-schedules').data?.['schedules.yaml'] ?? '')).toEqual({ schedules: [{ name: 'hourly', every: '1h' }] }); // prettier-ignore
    for (const [name, hook, file] of [['set', 'post-install,post-upgrade,post-rollback', 'schedules'], ['end', 'pre-delete', 'none']] as const) {
      expect(named(all, 'Job', `undrop-schedules-${name}`).metadata).toMatchObject({ annotations: { 'helm.sh/hook': hook } });
      expect(pod(all, 'Job', `undrop-schedules-${name}`)).toMatchObject({
        automountServiceAccountToken: false,
        containers: [{ args: ['schedule', 'apply', `/etc/undrop-schedules/${file}.yaml`] }],
      });
    }
    expect(rendered(worker)).not.toContain('undrop-schedules');
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
    ['gateway.enabled=true', 'set temporal.address'],
    [
      `${gateway.join()},gateway.replicas=2`,
      'a PostgreSQL database that they share: set gateway.databaseSecret (DATABASE_URL)',
    ],
    [`${gateway.join()},gateway.replicas=2,gateway.databaseSecret=db`, 'must sign with the same key'],
    [`${gateway.join()},gateway.ingress.enabled=true`, 'the host is that of gateway.config.url'],
    ['gateway.config.source.a=b', "at '/gateway/config': additional properties 'source' not allowed"],
    ['schedules[0].name=hourly,schedules[0].every=1h', 'schedules: they live at a Temporal server'],
    ['schedules[0].name=hourly', "at '/schedules/0': missing property 'every'"],
  ])('%s is refused with one clear error', (value, says) => {
    const said = complaint(value);
    expect(said).toContain(says);
    expect(said.trim().split('\n').length).toBeLessThanOrEqual(5);
  });
});
