import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { newKey, publicLine, sshKey } from '../activities/signature.ts';
import { type IncidentProgress, incidentId } from '../domain/incident.ts';
import { down, faultNamed, heal, inLab, inject, labInventory, up } from '../lab/lab.ts';
import { Alerting, asked, rules } from './support/alerting.ts';
import { type Command, Commands } from './support/commands.ts';
import { inside, real } from './support/machine.ts';
import { Browser, Provider } from './support/people.ts';
import { Person, Road, approvalBy } from './support/road.ts';
import { until } from './support/until.ts';

// h1's card breaks what h1 sends, and h2 refuses it: the alert names the node that suffers, the run finds the other one.
const fault = faultNamed('broken-tx-checksum');
const nodes = ['h1', 'r', 'h2'];
const alice = new Person('alice');
const provider = new Provider({ 'alice-at-idp': [] });
const token = randomUUID();

const configText = (url: string, port: number): string => `
listen: { port: ${port} }
url: ${url}
incidents: { windowSeconds: 1 }
oidc: { issuer: '${provider.issuer}', clientId: undrop, clientSecret: { env: UNDROP_T_CLIENT } }
sources:
  alertmanager:
    kind: alertmanager
    auth: { secrets: [{ env: UNDROP_T_TOKEN }] }
    targets: { ends: inventory, allow: [h1, h2], rules: [{ when: labels.node == 'h2', target: "'h1->' + labels.node" }] }
people: [{ name: alice, oidc: alice-at-idp }]
roles: [{ role: approve, who: [alice] }]
`;

/** UDP's counters of a lab node, read from its kernel without any of the programs that are tested. */
function udp(node: string): Record<string, number> {
  const lines = inside(`undrop-${node}`, 'grep ^Udp: /proc/net/snmp').split('\n');
  const [names = [], values = []] = lines.map((text) => text.split(' ').slice(1));
  return Object.fromEntries(names.map((name, at) => [name, Number(values[at])]));
}

/** What UDP's counters moved while forty more of the users' answers came in at h1; it fails where none come. */
async function whileAnswered(): Promise<{ refused: number }> {
  const before = { h1: udp('h1'), h2: udp('h2') };
  const answers = (): number => (udp('h1')['InDatagrams'] ?? 0) - (before.h1['InDatagrams'] ?? 0);
  await until('users get answers', () => answers() >= 40, 10_000);
  return { refused: (udp('h2')['InErrors'] ?? 0) - (before.h2['InErrors'] ?? 0) };
}

real(
  'ip',
  'ethtool',
  'iptables',
  'python3',
  'setpriv',
  'unshare',
  'apt-get',
  'dpkg',
  'chromium',
)('from a real fault over real senders to the cure, by `undrop dev`', () => {
  const road = new Road();
  const commands = new Commands();
  const inventory = labInventory('netns');
  let alerting: Alerting;
  let dev: Command;
  let url = '';
  let exporters: Record<string, string>;
  let prometheus = '';

  const incident = async (): Promise<IncidentProgress | undefined> =>
    road.engine.client.workflow
      .getHandle(incidentId(inventory.name, fault.target))
      .query<IncidentProgress>('progress')
      .catch(() => undefined);
  const alerts = async () => asked(prometheus, 'ALERTS{alertstate="firing"}');

  beforeAll(async () => {
    alerting = new Alerting();
    await up('netns');
    // Users of a service on h2, for at most ten minutes.
    await inLab(
      'netns',
      `spawn service h2 python3 "$UNDROP_LAB_HOME/echo.py" 9000
       spawn users h1 python3 "$UNDROP_LAB_HOME/users.py" 172.30.2.1 9000 --rate 20`,
    );
    await road.open();
    const at = await provider.openFor();
    ({ url } = at);
    // The gateway's key, which it would else make at its first start: the inventory has to trust it.
    const made = newKey();
    const key = publicLine(sshKey(made));
    writeFileSync(join(road.data, 'gateway-key'), made, { mode: 0o600 });
    const config = join(road.data, 'gateway.yaml');
    writeFileSync(config, configText(url, at.port));
    const approval = { ...approvalBy([alice]), gateways: [{ name: 'gateway', key }] };
    const words = ['dev', '-c', config, '-i', road.file({ ...inventory, approval }), '--log-level', 'error'];
    dev = commands.start(words, { UNDROP_T_TOKEN: token, UNDROP_T_CLIENT: provider.secret });
    await dev.says('listening');
    expect(dev.stdout).not.toContain('do not count yet');
    exporters = Object.fromEntries(
      await Promise.all(nodes.map(async (node) => [node, await alerting.exporter(`undrop-${node}`)] as const)),
    );
    const alertmanager = await alerting.alertmanager(`${url}/hooks/alertmanager`, token);
    prometheus = await alerting.prometheus(exporters, alertmanager);
  }, 300_000);
  afterAll(async () => {
    await alerting?.close();
    await commands.end();
    await provider.close();
    await road.close();
    await down('netns');
  }, 60_000);

  test('what the rules ask of node_exporter is there, by these names', async () => {
    const text = await (await fetch(`http://${exporters['h2']}/metrics`)).text();
    const there = new Set([...text.matchAll(/^(node_\w+)/gm)].map(([name]) => name));
    const wanted = rules.flatMap(({ expr }) => expr.match(/\bnode_\w+/g) ?? []);
    expect(wanted.length).toBeGreaterThan(5);
    expect(wanted.filter((name) => !there.has(name))).toEqual([]);
  });

  test('while users are answered nothing fires', async () => {
    await until('some seconds of all nodes are known', async () => {
      const known = await asked(prometheus, 'sum by (node) (count_over_time(up[10s]))');
      return nodes.every((node) => (known[node] ?? 0) > 6);
    }, 30_000); // prettier-ignore
    const rate = await asked(prometheus, 'rate(node_netstat_Udp_InDatagrams[5s])');
    // The exporter on h2 shows what h2 gets; nothing of it is the router's own.
    expect(rate['h2']).toBeGreaterThan(10);
    expect(rate['r']).toBeLessThan(1);
    expect(await whileAnswered()).toEqual({ refused: 0 });
    expect(await alerts()).toEqual({});
    expect(await incident()).toBeUndefined();
  }, 60_000);

  test('a card breaks: an alert opens a run, a person approves on the page, users are answered and the alert ends', async () => {
    try {
      await inject(fault);
      const known = await until('the incident has a plan', async () => {
        const now = await incident();
        return now?.runs[0]?.remediation === undefined ? undefined : now;
      }, 90_000); // prettier-ignore
      expect(Object.keys(await alerts())).toEqual(['h2']);
      expect(known.problems).toMatchObject([
        { source: 'alertmanager', status: 'firing', title: expect.stringMatching(/refuses .+ UDP datagrams a second/) },
      ]);
      expect(known.runs).toMatchObject([{ says: expect.stringContaining('OFFLOAD-CSUM-TX at h1') }]);

      const browser = await Browser.open({ phone: true });
      try {
        await browser.signIn(`${url}/`, 'alice-at-idp');
        await browser.sees('UDP datagrams a second');
        await browser.follows(/^\d{8}-\d{4}-/);
        await browser.sees('OFFLOAD-CSUM-TX at h1');
        await browser.press('Approve exactly this');
        expect(await browser.outcome(90_000)).toBe('confirmed');
      } finally {
        await browser.close();
      }
      const remediation = road.engine.client.workflow.getHandle(`remediate/${known.runs[0]?.run}`);
      expect(await remediation.result()).toMatchObject({ decisions: [{ principal: 'alice', via: 'gateway' }] });

      expect(inside('undrop-h1', 'ethtool -k eth0')).toContain('tx-checksum-ip-generic: off');
      expect(await whileAnswered()).toEqual({ refused: 0 });
      await until('the incident is resolved', async () => (await incident())?.phase === 'resolved', 30_000);
      expect(await alerts()).toEqual({});
      expect((await incident())?.runs).toHaveLength(1);
      dev.kill('SIGINT');
      expect(await dev.ended).toBe(0);
    } finally {
      await heal(fault);
    }
  }, 240_000);
});
