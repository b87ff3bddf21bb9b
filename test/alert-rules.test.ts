import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { type Server, createServer } from 'node:http';
import { join } from 'node:path';
import { Alert } from '../domain/alert.ts';
import { readJson } from '../gateway/json.ts';
import { type Normalised, normalised } from '../gateway/kinds/index.ts';
import { Targets, aim } from '../gateway/targets.ts';
import { type Verified, verified } from '../gateway/verify.ts';
import { Alerting, rules, runProgram, shipped, shippedYaml } from './support/alerting.ts';
import { root } from './support/imports.ts';
import { real } from './support/machine.ts';
import { freePort } from './support/port.ts';
import { until } from './support/until.ts';

/** Downloads Debian's packages the first time. */
const fetchMs = 300_000;

test.each(rules)(
  '$alert is routed to undrop, has a severity, and says what a reader needs',
  ({ alert, labels, annotations }) => {
    expect(labels['runbook']).toBe('udp-service-loss');
    expect(['warning', 'critical']).toContain(labels['severity']);
    for (const name of ['summary', 'description']) expect(annotations[name]).toBeTruthy();
    expect(annotations['runbook_url']?.endsWith(`/docs/alerts#${alert.toLowerCase()}`)).toBe(true);
    expect(readFileSync(join(root, 'docs/alerts.md'), 'utf8').toLowerCase()).toContain(`#### ${alert.toLowerCase()}\n`);
  },
);

test('every rule has a case in which it fires, and one in which it does not', () => {
  interface Case {
    alertname: string;
    exp_alerts: unknown[];
  }
  const tests = (shippedYaml('undrop-rules.test.yaml') as { tests: { alert_rule_test: Case[] }[] }).tests;
  const cases = tests.flatMap((one) => one.alert_rule_test);
  const names = (fires: boolean) => [...new Set(cases.filter((one) => one.exp_alerts.length > 0 === fires).map((one) => one.alertname))].toSorted(); // prettier-ignore
  const all = rules.map(({ alert }) => alert).toSorted();
  expect(names(true)).toEqual(all);
  expect(names(false)).toEqual(all);
});

real(
  'unshare',
  'mount',
  'flock',
  'apt-get',
  'dpkg',
)('with the real programs', () => {
  const token = 'contract-test-0123456789abcdef';
  const got: { how: Verified; said: Normalised }[] = [];
  let alerting: Alerting | undefined;
  let receiver: Server | undefined;
  let url = '';

  beforeAll(async () => {
    alerting = new Alerting();
    receiver = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const body = Buffer.concat(chunks);
        const how = verified(
          { scheme: 'bearer' },
          ['another-token-0123456789', token],
          request.headers,
          body,
          Date.now(),
        );
        got.push({ how, said: normalised('prod', 'alertmanager', readJson(body), request.headers) });
        response.end();
      });
    });
    const port = await freePort();
    receiver.listen(port, '127.0.0.1');
    url = `http://${await alerting.alertmanager(`http://127.0.0.1:${port}/hooks/alertmanager`, token)}`;
  }, fetchMs);

  afterAll(async () => {
    await alerting?.close();
    receiver?.close();
  });

  test('promtool and amtool accept the rules, their tests and the configurations', () => {
    const said = (...words: string[]) => execFileSync('sh', [runProgram, ...words], { encoding: 'utf8', cwd: shipped });
    expect(said('promtool', 'check', 'rules', 'undrop-rules.yaml')).toContain(`SUCCESS: ${rules.length} rules`);
    expect(said('promtool', 'test', 'rules', 'undrop-rules.test.yaml')).toContain('SUCCESS');
    expect(said('promtool', 'check', 'config', 'prometheus.yaml')).toContain('SUCCESS');
    expect(said('amtool', 'check-config', 'alertmanager.yaml')).toContain('SUCCESS');
  });

  test('what Alertmanager sends proves who it is, opens a problem at an allowed target, and ends the same problem', async () => {
    const labels = { alertname: 'KubeUDPServiceProbeFailing', cluster: 'lab', namespace: 'shop', service: 'echo', severity: 'critical', runbook: 'udp-service-loss' }; // prettier-ignore
    const post = (more: object) =>
      fetch(`${url}/api/v2/alerts`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify([{ labels, ...more }]) }); // prettier-ignore
    const startsAt = new Date().toISOString();
    const annotations = {
      summary: 'shop/echo answers 75% of its probes',
      runbook_url: 'https://undrop.example/docs/alerts#x',
    };
    await post({ startsAt, annotations });
    const state = (status: string) => () => got.find(({ said }) => said.alerts[0]?.status === status);
    const firing = await until('it is told that it fires', state('firing'), 30_000);
    await post({ startsAt, endsAt: new Date().toISOString() });
    const resolved = await until('it is told that it is resolved', state('resolved'), 30_000);

    for (const { how, said } of [firing, resolved]) {
      expect(how).toEqual({ ok: true });
      expect(said.ignored).toBeUndefined();
      expect(said.alerts).toHaveLength(1);
      for (const one of said.alerts) Alert.parse(one);
    }
    const [[opened], [ended]] = [firing.said.alerts, resolved.said.alerts];
    expect(opened).toMatchObject({ source: 'prod', labels, title: annotations.summary, at: startsAt });
    expect(ended).toMatchObject({ problem: opened?.problem, labels });
    const targets = Targets.parse({ allow: ['service/shop/*'] });
    expect(opened && aim(targets, opened)).toEqual({ target: 'service/shop/echo' });
  });
});
