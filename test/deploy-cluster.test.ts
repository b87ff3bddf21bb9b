import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { newKey, publicLine, sshKey } from '../activities/signature.ts';
import { auditFolder, auditIdOf } from '../domain/audit.ts';
import { down, faultNamed, heal, inLab, inject, kubeconfig, kubectl, up } from '../lab/lab.ts';
import { temporalBinary } from '../worker/binary.ts';
import { buildMs, chart, helm } from './support/chart.ts';
import { Commands } from './support/commands.ts';
import { root } from './support/imports.ts';
import { real, sh } from './support/machine.ts';
import { until } from './support/until.ts';

/** Not the namespace that the lab itself makes. */
const namespace = 'undrop-chart';
const temporalAddress = '172.30.0.1:7233';
/** Its image is at one node only. */
const onN1 = 'nodeSelector.kubernetes\\.io/hostname=n1';
const withWorker = [
  `temporal.address=${temporalAddress}`,
  'images.worker.repository=localhost/undrop/worker',
  'images.worker.tag=dev',
  'images.worker.pullPolicy=Never',
  `worker.${onN1}`,
  'networkPolicy.enabled=true',
];

const withSchedule = (name: string): string[] => [`schedules[0].name=${name}`, 'schedules[0].every=1h'];
const fault = faultNamed('k8s-wrong-port');

/** URL TOKEN BODY: asks, and prints status and answer. */
const ask = `
import json, sys, urllib.error, urllib.request
url, token, body = sys.argv[1:]
request = urllib.request.Request(url, body.encode() or None, {"Authorization": "Bearer " + token, "Content-Type": "application/json"})
try:
    answer = urllib.request.urlopen(request, timeout=20)
except urllib.error.HTTPError as error:
    answer = error
print(json.dumps({"status": answer.status, "json": json.load(answer)}))`;

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
    sh(helm(), what, 'undrop', chart, '--kubeconfig', kubeconfig, '--namespace', namespace, '--wait', '--timeout', '90s',
      ...['images.agent.repository=localhost/undrop/agent', 'images.agent.tag=dev', 'images.agent.pullPolicy=Never', 'namespace.create=true', ...values]
        .flatMap((value) => ['--set', value]), ...(what === 'install' ? ['--create-namespace'] : []), '--take-ownership'); // prettier-ignore
  const inWorker = (...words: string[]): string =>
    sh(kubectl, '--kubeconfig', kubeconfig, '-n', namespace, 'exec', 'deploy/undrop-worker', '--', ...words);
  /** A lab that was up before is used as it is, and stays. */
  let ours = false;

  beforeAll(async () => {
    home = mkdtempSync(join(tmpdir(), 'undrop-deploy-'));
    helm();
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

  const accepted = (show: string, ...values: string[]): string => {
    const file = join(home, 'objects.yaml');
    writeFileSync(file, sh(helm(), 'template', 'undrop', chart, '--no-hooks', '-n', 'default', ...show.split(' ').filter(Boolean), ...values.flatMap((value) => ['--set', value]))); // prettier-ignore
    return inCluster(`apply --dry-run=server --warnings-as-errors -f ${file}`);
  };

  test('the API server accepts every object of it, and what reaches no node also under the strictest Pod Security', () => {
    const values = [
      'temporal.address=temporal.example:7233',
      'changer.enabled=true',
      'networkPolicy.enabled=true',
      'networkPolicy.gatewayFrom[0].podSelector.matchLabels.app=ingress',
      'worker.persistence.enabled=true',
      'gateway.enabled=true',
      'gateway.config.url=https://undrop.example',
      'gateway.ingress.enabled=true',
      'gateway.persistence.enabled=true',
      'gateway.secrets={alerts.prod}',
      'schedules[0].name=hourly',
      'schedules[0].every=1h',
    ];
    expect(accepted('', ...values).match(/created \(server dry run\)/g)).toHaveLength(27);
    const strict = 'pod-security.kubernetes.io/warn';
    inCluster(`label namespace default ${strict}=restricted`);
    try {
      const shared = ['gateway.databaseSecret=db', 'gateway.keySecret=key', 'gateway.replicas=2'];
      accepted('-s templates/worker.yaml -s templates/gateway.yaml', ...values, ...shared);
      expect(() => accepted('-s templates/agent.yaml', ...values)).toThrow(/would violate PodSecurity/);
    } finally {
      inCluster(`label namespace default ${strict}-`);
    }
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
      until_ok 30 on sw ${temporal} operator cluster health --address ${temporalAddress}`); // prettier-ignore
    install('upgrade', ...withWorker);
    const report = inWorker('undrop', 'diagnose', 'pod/shop/client->service/shop/echo');
    expect(report).toContain('lost');
    expect(report).not.toContain('not allowed');
    expect(inWorker('undrop', 'diagnose', 'service/shop/echo')).toContain('lost');
    expect(inCluster(`-n ${namespace} logs deploy/undrop-worker`)).toContain(`working on undrop-undrop at ${temporalAddress}`); // prettier-ignore
    expect(inCluster(`-n ${namespace} get jobs -o name`)).toBe('');
    expect(inWorker('undrop', 'doctor')).toMatch(/ok +n1: Linux[^]*ok +n2: Linux/);
    await inLab('kubernetes', `may() { kubectl auth can-i --as=system:serviceaccount:${namespace}:undrop-worker -q "$@"; }
      may_not() { if may "$@"; then echo "it may $*" >&2; return 1; fi; }
      may create pods --subresource=exec -n ${namespace}; may create jobs.batch -n ${namespace}
      may_not create pods --subresource=exec -n shop; may_not create jobs.batch -n shop; may_not get secrets -n ${namespace}
      may_not get nodes --subresource=proxy; may_not patch nodes; may_not patch services -n shop; may_not create events.events.k8s.io -n default`); // prettier-ignore
  }, 400_000);

  test('an alert that comes to the gateway’s Service opens a run, which the worker diagnoses and the API shows', async () => {
    const [alerts, pipeline] = [randomUUID(), randomUUID()];
    inCluster(`-n ${namespace} create secret generic alertmanager --from-literal=token=${alerts}`);
    inCluster(`-n ${namespace} create secret generic pipeline --from-literal=token=${pipeline}`);
    const key = newKey();
    sh(kubectl, '--kubeconfig', kubeconfig, '-n', namespace, 'create', 'secret', 'generic', 'gateway-key', `--from-literal=gateway-key=${key}`); // prettier-ignore
    const trusted = 'inventory.approval.gateways[0]';
    const source = 'gateway.config.sources.alertmanager';
    install('upgrade', ...withWorker, ...withSchedule('hourly'), 'gateway.enabled=true', `gateway.${onN1}`,
      'gateway.keySecret=gateway-key', `${trusted}.name=gateway`, `${trusted}.key=${publicLine(sshKey(key))}`,
      'gateway.secrets={alertmanager,pipeline}', 'gateway.config.incidents.windowSeconds=1', 'gateway.config.incidents.propose=false',
      `${source}.kind=alertmanager`, `${source}.auth.secrets[0].file=/etc/undrop-secrets/alertmanager/token`, `${source}.targets.allow={service/shop/*}`,
      'gateway.config.machines[0].name=pipeline', 'gateway.config.machines[0].tokens[0].file=/etc/undrop-secrets/pipeline/token',
      'gateway.config.roles[0].role=view', 'gateway.config.roles[0].who={pipeline}'); // prettier-ignore
    const said = inCluster(`-n ${namespace} logs deploy/undrop-gateway`);
    expect(said).toContain('listening at');
    // It signs with the Secret's key, which the inventory trusts.
    expect(said).not.toContain('do not count yet');
    const service = inCluster(`-n ${namespace} get service undrop-gateway -o jsonpath={.spec.clusterIP}`);
    /** From a pod of another namespace, by the Service's address. */
    const asked = (path: string, token: string, body = ''): { status: number; json: unknown } =>
      JSON.parse(sh(kubectl, '--kubeconfig', kubeconfig, '-n', 'shop', 'exec', 'client', '--', 'python3', '-I', '-c', ask, `http://${service}${path}`, token, body)) as never; // prettier-ignore
    const alert = readFileSync(join(root, 'test/payloads/alertmanager-firing.json'), 'utf8');
    const runs = (): { run: string; target: string; status: string }[] => asked('/api/v1/runs', pipeline).json as never;
    const before = new Set(runs().map(({ run }) => run));
    await inject(fault);
    try {
      expect(asked('/hooks/alertmanager', 'wrong', alert).status).toBe(401);
      expect(asked('/hooks/alertmanager', alerts, alert).json).toMatchObject({ accepted: 1 });
      const run = await until('the run has ended', () => runs().find((one) => !before.has(one.run) && one.status === 'completed'), 90_000); // prettier-ignore
      expect(run.target).toBe('service/shop/echo');
      // The worker has the evidence, and the gateway none.
      const { json } = asked(`/api/v1/runs/${run.run}`, pipeline);
      expect(json).toMatchObject({ diagnosis: { says: expect.stringContaining('UDP-NOPORT') } });
      expect(asked('/readyz', '').json).toEqual({ temporal: true, database: true });
    } finally {
      await heal(fault);
    }
  }, 240_000);

  test('a schedule of the chart is there, and its audit names every node; it goes with the release', async () => {
    const listed = (): string => inWorker('undrop', 'schedule', 'list');
    expect(listed()).toMatch(/^hourly +every 1h /m);
    expect(inCluster(`-n ${namespace} get jobs -o name`)).toBe('');
    const id = inWorker('undrop', 'schedule', 'trigger', 'hourly').trim().split('/').at(-1) ?? '';
    const audits = (): { past: { id: string; status: string; says: string }[] } =>
      JSON.parse(inWorker('undrop', 'schedule', 'show', 'hourly', '--json')) as never;
    const done = await until('the audit has ended', () => audits().past.find((one) => one.id.endsWith(id) && one.status !== 'running'), 60_000); // prettier-ignore
    expect(done).toMatchObject({
      status: 'completed',
      says: expect.stringMatching(/^2 nodes: .* 0 could not be read/),
    });
    const page = inWorker(
      'cat',
      `/var/lib/undrop/data/audits/${auditFolder('undrop', auditIdOf(done.id))}/report.html`,
    );
    expect(page).toContain('<td>n1, n2</td>');

    install('upgrade', ...withWorker, ...withSchedule('nightly'));
    expect(listed()).toMatch(/^nightly /m);
    expect(listed()).not.toContain('hourly');
    const temporal = await temporalBinary(() => {});
    const there = async (): Promise<string> => inLab('kubernetes', `on sw ${temporal} schedule list --address ${temporalAddress}`); // prettier-ignore
    expect(await there()).toContain('audit/undrop/nightly');
    sh(helm(), 'uninstall', 'undrop', '--kubeconfig', kubeconfig, '--namespace', namespace, '--wait');
    await until('the schedule is gone', async () => !(await there()).includes('audit/'));
  }, 240_000);
});
