import { describe, expect, test } from '@jest/globals';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Alert, alertOf } from '../domain/alert.ts';
import { plainText } from '../domain/plain-text.ts';
import { taken } from '../gateway/intake.ts';
import { readJson } from '../gateway/json.ts';
import { type Kind, type KindName, kinds, normalised } from '../gateway/kinds/index.ts';
import { Mapping } from '../gateway/kinds/mapping.ts';
import { replayOf } from '../gateway/schemes.ts';
import { Source, Sources } from '../gateway/source-config.ts';
import type { Headers } from '../gateway/verify.ts';
import { root } from './support/imports.ts';

const folder = join(root, 'test/payloads');
const payload = (name: string): unknown => readJson(readFileSync(join(folder, `${name}.json`)));
const read = (kind: KindName, name: string, headers: Headers = {}) => normalised('lab', kind, payload(name), headers);
const structured = { 'content-type': 'application/cloudevents+json; charset=utf-8' };

/** Which kind reads which payload. */
const kindOf = (name: string): KindName => {
  const [first = ''] = name.split('-');
  return name.startsWith('grafana-oncall')
    ? 'grafana-oncall'
    : first === 'cloudevent'
      ? 'cloudevents'
      : (first as KindName);
};
const names = readdirSync(folder).flatMap((file) => (file.endsWith('.json') ? [file.slice(0, -5)] : []));

describe('what senders say', () => {
  test('Alertmanager: firing and resolved are one problem; a resolved one has lost its annotations', () => {
    const labels = { alertname: 'KubeUDPServiceNodeConntrackFull', cluster: 'lab', namespace: 'shop', node: 'n1', runbook: 'udp-service-loss', service: 'echo', severity: 'critical' }; // prettier-ignore
    const runbook = 'https://undrop.example/docs/alerts#kubeudpservicenodeconntrackfull';
    const common = { source: 'lab', problem: '4e061e40ff20a8cb', severity: 'critical', labels };
    expect(read('alertmanager', 'alertmanager-firing')).toEqual({
      alerts: [
        {
          ...common,
          status: 'firing',
          title: 'conntrack on n1 drops packets',
          at: '2026-11-25T01:47:03.000Z',
          annotations: { summary: 'conntrack on n1 drops packets', runbook_url: runbook },
          links: [
            { rel: 'runbook', href: runbook },
            { rel: 'generator', href: 'http://prometheus.example:9090/graph' },
          ],
        },
      ],
    });
    expect(read('alertmanager', 'alertmanager-resolved')).toEqual({
      alerts: [
        {
          ...common,
          status: 'resolved',
          title: labels.alertname,
          at: '2026-11-25T01:47:05.000Z',
          annotations: {},
          links: [],
        },
      ],
    });
  });

  test('Alertmanager with max_alerts: what is left is read, and that something is missing is said', () => {
    const { alerts, ignored } = read('alertmanager', 'alertmanager-truncated');
    expect(alerts.map(({ labels, problem }) => [labels['node'], problem])).toEqual([
      ['n1', '5a87e90b0c5abb5b'],
      ['n2', '906a14f73223d014'],
    ]);
    expect(ignored).toBe('max_alerts of the sender left out 1 more alerts of the group');
    expect(read('alertmanager', 'alertmanager-0.33').alerts).toMatchObject([{ problem: '3804396133cb53dc', labels: { node: 'kr-n1' } }]); // prettier-ignore
  });

  test('Grafana: each alert has its own status; it is not taken for Alertmanager, nor the other way', () => {
    const { alerts } = read('grafana', 'grafana');
    expect(alerts).toMatchObject([
      { problem: 'c6eadffa33fcdf37', status: 'firing', severity: 'critical', at: '2026-11-24T08:14:30.157Z', labels: { service: 'kube-dns' } },
      { problem: 'bc97ff14869b13e3', status: 'resolved', at: '2026-11-24T08:10:00.000Z' },
    ]); // prettier-ignore
    expect(alerts[0]?.links.map(({ rel }) => rel)).toEqual(['runbook', 'generator', 'silence', 'dashboard']);
    expect(read('alertmanager', 'grafana')).toEqual({ alerts: [], ignored: 'this is what Grafana sends: configure the kind grafana' }); // prettier-ignore
    expect(read('grafana', 'alertmanager-firing').alerts).toEqual([]);
  });

  test.each<[string, object]>([
    ['grafana-oncall', { problem: 'IAAAAAAAAAAAA', status: 'acknowledged', title: 'UDP loss at shop/echo', at: '2026-11-24T21:59:21.714Z', severity: 'critical', labels: { namespace: 'shop', service: 'echo', team: 'net' } }],
    ['grafana-oncall-alertmanager', { status: 'firing', severity: 'critical', labels: { namespace: 'shop', service: 'echo', node: 'n1', team: 'net' }, annotations: { summary: 'conntrack on n1 drops packets' } }],
    ['pagerduty', { problem: 'QAAAAAAAAAAAA1', status: 'firing', title: 'UDP loss at shop/echo', severity: 'P1', at: '2026-11-24T18:45:22.169Z', labels: { pagerduty_service: 'shop-echo' }, links: [{ rel: 'incident', href: 'https://example.pagerduty.com/incidents/QAAAAAAAAAAAA1' }] }],
    ['opsgenie-create', { problem: 'udp-loss-shop-echo', status: 'firing', severity: 'P2', at: '2025-11-25T00:00:00.123Z', labels: { namespace: 'shop', service: 'echo', opsgenie_integration: 'undrop' } }],
    ['opsgenie', { problem: 'udp-loss-shop-echo', status: 'acknowledged', severity: 'P2', at: '2025-11-25T00:02:00.456Z', labels: { opsgenie_entity: 'echo', opsgenie_integration: 'undrop' } }],
    ['incidentio-created', { problem: '01AAAAAAAAAAAAAAAAAAAAAAAD', status: 'firing', severity: 'Major', labels: { undrop_target: 'service/shop/echo', dashboard: 'https://grafana.example/d/udp', 'lost percent': '3.1', incidentio_reference: 'INC-123' } }],
    ['incidentio-closed', { problem: '01AAAAAAAAAAAAAAAAAAAAAAAD', status: 'resolved', at: '2026-11-24T15:00:00.000Z' }],
    ['incidentio-alert', { problem: 'udp-loss/shop/echo', status: 'resolved', title: 'UDP loss at shop/echo', at: '2026-11-24T14:00:00.000Z', labels: { namespace: 'shop', service: 'echo', team: 'Net' } }],
    ['rootly-alert', { status: 'resolved', title: 'UDP loss at shop/echo', at: '2026-11-25T03:50:00.000Z', labels: { namespace: 'shop', service: 'echo', rootly_source: 'alertmanager' } }],
    ['rootly', { problem: '00000000-0000-4000-8000-000000000012', status: 'firing', title: 'Quiet Frost', severity: 'sev1', at: '2026-11-25T03:44:33.633Z', labels: { namespace: 'shop', service: 'echo' } }],
    ['firehydrant', { problem: '00000000-0000-4000-8000-000000000021', status: 'firing', severity: 'SEV1', labels: { namespace: 'shop' } }],
    ['standard', { problem: 'udp-loss/shop/echo', status: 'resolved', title: 'UDP loss at shop/echo', at: '2026-11-24T17:35:00.000Z' }],
  ])('%s', (name, expected) => {
    const { alerts, ignored } = read(kindOf(name), name);
    expect(alerts).toMatchObject([{ source: 'lab', ...expected }]);
    expect(ignored).toBeUndefined();
  }); // prettier-ignore

  test('PagerDuty: a delivery has an id in the signed body; tests and notes are acknowledged and open nothing', () => {
    expect(read('pagerduty', 'pagerduty').delivery).toBe('01AAAAAAAAAAAAAAAAAAAAAAAA');
    expect(read('pagerduty', 'pagerduty-ping')).toEqual({ delivery: '01AAAAAAAAAAAAAAAAAAAAAAAC', alerts: [], ignored: 'a test of the subscription' }); // prettier-ignore
    expect(read('pagerduty', 'pagerduty-note')).toMatchObject({ alerts: [], ignored: /annotated/ });
  });

  test('Grafana OnCall: of a group that Alertmanager cut, only the labels of the group are taken', () => {
    const body = payload('grafana-oncall-alertmanager') as { alert_payload: object };
    const cut = { ...body, alert_payload: { ...body.alert_payload, truncatedAlerts: 1 } };
    const [alert] = normalised('lab', 'grafana-oncall', cut, {}).alerts;
    expect(alert).toMatchObject({ labels: { alertname: 'KubeUDPServiceNodeConntrackFull', cluster: 'lab', team: 'net' }, annotations: {} }); // prettier-ignore
    expect(alert?.labels).not.toHaveProperty('service');
  });

  test('JSM reads what Opsgenie sends; its nanoseconds stay exact', () => {
    expect(read('jsm', 'opsgenie')).toEqual(read('opsgenie', 'opsgenie'));
    expect(JSON.stringify(payload('opsgenie'))).toContain('"1764028920456000001"');
  });

  test('CloudEvents: structured, binary and in a batch are the same', () => {
    const event = payload('cloudevent') as Record<string, string> & { data: unknown };
    const whole = read('cloudevents', 'cloudevent', structured);
    expect(whole).toMatchObject({ delivery: '/monitoring/lab A234-1234-1234', alerts: [{ problem: 'shop/echo', status: 'firing', title: 'UDP loss', at: '2026-11-24T17:31:00.000Z' }] }); // prettier-ignore
    const headers = Object.fromEntries(['specversion', 'id', 'source', 'type', 'subject', 'time'].map((name) => [`ce-${name}`, event[name]])); // prettier-ignore
    const binary = { ...headers, 'ce-subject': 'shop%2Fecho', 'content-type': 'application/json' };
    expect(normalised('lab', 'cloudevents', event.data, binary)).toEqual(whole);
    const batch = [event, { ...event, type: 'com.example.udp.loss.resolved' }, { specversion: '0.3' }];
    const said = normalised('lab', 'cloudevents', batch, { 'content-type': 'application/cloudevents-batch+json' });
    expect(said.alerts.map(({ status }) => status)).toEqual(['firing', 'resolved']);
    expect(said.ignored).toMatch(/^1 of 3 events/);
  });

  test.each<[KindName, string, string, unknown, string | undefined]>([
    ['pagerduty', 'pagerduty', 'event.data.status', 'resolved', 'resolved'],
    ['pagerduty', 'pagerduty', 'event.data.status', 'on fire', undefined],
    ['opsgenie', 'opsgenie', 'action', 'Close', 'resolved'],
    ['opsgenie', 'opsgenie', 'action', 'Delete', 'cancelled'],
    ['opsgenie', 'opsgenie', 'action', 'UnAcknowledge', 'firing'],
    ['opsgenie', 'opsgenie', 'action', 'AddNote', undefined],
    ['opsgenie', 'opsgenie', 'action', 'constructor', undefined],
    ['grafana-oncall', 'grafana-oncall', 'alert_group.state', 'resolved', 'resolved'],
    ['grafana-oncall', 'grafana-oncall', 'alert_group.state', undefined, 'acknowledged'],
    ['rootly', 'rootly', 'event.type', 'incident.mitigated', 'acknowledged'],
    ['rootly', 'rootly', 'event.type', 'incident.cancelled', 'cancelled'],
    ['rootly', 'rootly', 'event.type', 'incident.updated', 'firing'],
    ['rootly', 'rootly', 'event.type', 'incident.in_triage', 'firing'],
    ['rootly', 'rootly', 'event.type', 'incident.scheduled.created', undefined],
    ['rootly', 'rootly-alert', 'data.status', 'open', 'firing'],
    ['rootly', 'rootly-alert', 'data.status', 'acknowledged', 'acknowledged'],
    ['rootly', 'rootly-alert', 'data.status', 'deferred', undefined],
    ['firehydrant', 'firehydrant', 'data.incident.current_milestone', 'resolved', 'resolved'],
    ['firehydrant', 'firehydrant', 'event.resource_type', 'change_event', undefined],
    ['grafana-oncall', 'grafana-oncall-alertmanager', 'alert_group.state', 'silenced', 'acknowledged'],
    ['incidentio', 'incidentio-created', 'event_type', 'private_incident.incident_created_v2', undefined],
    ['standard', 'standard', 'type', 'invoice.paid', undefined],
    ['standard', 'standard', 'data.status', 'cancelled', 'cancelled'],
    ['alertmanager', 'alertmanager-firing', 'version', '5', undefined],
  ])('%s: in %s with %s = %s the state is %5$s', (kind, name, path, value, status) => {
    const body = structuredClone(payload(name)) as Record<string, unknown>;
    const keys = path.split('.');
    const last = keys.pop() ?? '';
    const holder = keys.reduce<Record<string, unknown>>((object, key) => object[key] as Record<string, unknown>, body);
    holder[last] = value;
    const said = normalised('lab', kind, body, {});
    expect(said.alerts.map((alert) => alert.status)).toEqual(status === undefined ? [] : [status]);
    if (status === undefined) expect(said.ignored).toBeTruthy();
  });
});

describe('a mapping', () => {
  const mapping = Mapping.parse({
    id: 'body.uid', each: 'body.checks', problem: 'item.name', status: "item.ok ? 'resolved' : 'firing'",
    title: "'check ' + item.name", labels: "{'namespace': item.ns, 'tries': item.tries}",
  }); // prettier-ignore
  const body = { uid: 'u1', checks: [{ name: 'dns', ok: false, ns: 'shop', tries: 3 }, { name: 'ntp', ok: true, ns: 'shop', tries: 1 }] }; // prettier-ignore

  test('gives an alert for each item', () => {
    expect(normalised('lab', 'generic', body, {}, mapping)).toMatchObject({
      delivery: 'u1',
      alerts: [
        { problem: 'dns', status: 'firing', title: 'check dns', labels: { namespace: 'shop', tries: '3' } },
        { problem: 'ntp', status: 'resolved' },
      ],
    });
  });

  test.each<[string, unknown, RegExp]>([
    ['a field is missing', { uid: 'u', checks: [{ name: 'dns' }] }, /"status": No such key: ok/],
    ['one of two items is wrong', { ...body, checks: [...body.checks, {}] }, /"status"/],
    ['there is no list', { uid: 'u', checks: 'none' }, /gives no list/],
    ['it is no object', [], /"each"/],
    ['it is null', null, /"each"/],
  ])('that fails takes nothing from a body and says why: %s', (_, wrong, why) => {
    expect(normalised('lab', 'generic', wrong, {}, mapping)).toEqual({
      alerts: [],
      ignored: expect.stringMatching(why),
    });
  });

  test('whose status is none of the four words takes nothing', () => {
    const said = normalised('lab', 'generic', { s: 'red\u001b[2J' }, {}, Mapping.parse({ problem: "'x'", status: 'body.s' })); // prettier-ignore
    expect(said).toEqual({ alerts: [], ignored: 'the mapping\'s "status": gives "red", which is no status' });
  });

  test('reads a value that looks like an expression as a value', () => {
    const evil = { s: "firing' + body.secret + '", secret: 'hidden' };
    const said = normalised('lab', 'generic', evil, {}, Mapping.parse({ problem: 'body.s', status: "'firing'" }));
    expect(said.alerts[0]?.problem).toBe(evil.s);
  });

  test('is checked when the configuration is read', () => {
    for (const wrong of [
      { problem: 'body.', status: "'firing'" },
      { problem: 'bodi.x', status: "'firing'" },
      { status: "'firing'" },
    ])
      expect(Mapping.safeParse(wrong).success).toBe(false);
  });
});

describe('what strangers send', () => {
  const evil = 'x"; rm -rf / #$(id)`id`\n\u001b[31mred\u001b]0;title\u0007\u202eback\u200b\u0000';
  const alert = (labels: unknown, more: object = {}) => ({
    version: '4',
    alerts: [{ status: 'firing', labels, ...more }],
  });
  const only = (body: unknown): Alert => {
    const [first] = normalised('lab', 'alertmanager', readJson(Buffer.from(JSON.stringify(body))), {}).alerts;
    return Alert.parse(first);
  };

  test('is one line of plain text: no escape, no control character, no turned direction', () => {
    const { labels, title } = only(alert({ evil, [evil]: 'v' }, { annotations: { summary: evil } }));
    const shown = 'x"; rm -rf / #$(id)`id` redback';
    expect(title).toBe(shown);
    expect(labels).toEqual({ evil: shown, [shown]: 'v' });
  });

  test.each([
    ['a\u009b31mb', 'ab'],
    ['a\u001b[31', 'a[31'],
    ['a \u0007 b', 'a b'],
    ['\ud800', '\ufffd'],
    ['größer, 数据报, داده', 'größer, 数据报, داده'],
    ['𝒳'.repeat(100), `${'𝒳'.repeat(24)}…`],
    ['a\u001b\u001b[m[31mb', 'a[31mb'],
  ])('%j becomes %j, and stays so', (text, plain) => {
    expect(plainText(text, 50)).toBe(plain);
    expect(plainText(plain, 50)).toBe(plain);
  });

  test('a label of a megabyte, ten thousand labels, a title without end: cut, and quickly', () => {
    const many = Object.fromEntries(Array.from({ length: 10_000 }, (_, index) => [`l${index}`, 'v']));
    const started = performance.now();
    const { labels, title } = only(
      alert({ ...many, huge: 'v' }, { annotations: { summary: 'A\u001b'.repeat(500_000) } }),
    );
    const { labels: one } = only(
      alert({ huge: '\u001b['.repeat(500_000), node: 'n'.repeat(1e6), ['k'.repeat(1e5)]: 'v' }),
    );
    // Far more than it takes on a busy machine, and far less than a search of all of it again and again would.
    expect(performance.now() - started).toBeLessThan(10_000);
    expect(Object.keys(labels)).toHaveLength(64);
    expect(title).toHaveLength(300);
    expect(title.endsWith('…')).toBe(true);
    expect(one['node']).toHaveLength(500);
    expect(Object.keys(one).map(({ length }) => length)).toEqual([4, 4, 100]);
  });

  test('two problems whose ids differ only in what is cut or unseen stay two', () => {
    const ids = ['p', 'p\u200b', 'p'.repeat(500), 'p'.repeat(501)].map((problem) => alertOf('lab', { problem, status: 'firing' })?.problem); // prettier-ignore
    expect(new Set(ids).size).toBe(4);
    for (const id of ids) expect(id?.length).toBeLessThanOrEqual(200);
    expect(alertOf('lab', { problem: { a: 1 }, status: 'firing' })).toBeUndefined();
  });

  test('more alerts than a message can be about: the rest is left out, and that is said', () => {
    const alerts = Array.from({ length: 3000 }, (_, index) => ({
      status: 'firing',
      labels: { index },
      fingerprint: `${index}`,
    }));
    const said = normalised('lab', 'alertmanager', { version: '4', alerts }, {});
    expect(said.alerts).toHaveLength(2000);
    expect(said.ignored).toBe('1000 alerts beyond 2000');
  });

  test('keys that reach a prototype are no labels', () => {
    const text = `{"version":"4","alerts":[{"status":"firing","fingerprint":"f","labels":{"__proto__":{"polluted":"1"},"constructor":"c","prototype":"p","a":"b"}}],"__proto__":{"polluted":true}}`;
    const said = normalised('lab', 'alertmanager', readJson(Buffer.from(text)), {});
    expect(said.alerts[0]?.labels).toEqual({ a: 'b' });
    for (const key of ['__proto__', '\\u005f_proto__'])
      expect(Object.keys(readJson(Buffer.from(`{"${key}":{"x":1},"a":2}`)) as object)).toEqual(['a']);
    expect(alertOf('lab', { problem: 'p', status: 'firing', labels: JSON.parse('{"__proto__":"x"}') as unknown })?.labels).toEqual({}); // prettier-ignore
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });

  test('only links to the web are kept, none with a name in front of the host', () => {
    const href = (generatorURL: unknown) => only(alert({}, { generatorURL })).links.map((link) => link.href);
    expect(href('https://a.example/x?y=1')).toEqual(['https://a.example/x?y=1']);
    for (const wrong of [
      'javascript:alert(1)',
      'data:text/html,x',
      'file:///etc/passwd',
      '//a.example',
      '/graph',
      'https://bank.example@evil.example/',
      `https://a.example/${'x'.repeat(3000)}`,
      7,
      null,
    ])
      expect(href(wrong)).toEqual([]);
  });

  test('times that are none are left out', () => {
    const at = (startsAt: unknown) => only(alert({}, { startsAt })).at;
    expect(at(1_764_028_920)).toBe('2025-11-25T00:02:00.000Z');
    expect(at('1764028920456000001')).toBe('2025-11-25T00:02:00.456Z');
    for (const wrong of [
      '0001-01-01T00:00:00Z',
      '1',
      'yesterday',
      '2026-99-99T00:00:00Z',
      '9999-01-01T00:00:00Z',
      {},
      1e300,
    ])
      expect(at(wrong)).toBeUndefined();
  });

  test('what is no JSON, no UTF-8, cut, or nested without end is no body', () => {
    const whole = readFileSync(join(folder, 'alertmanager-firing.json'));
    for (const wrong of [
      Buffer.from('hello'),
      Buffer.from(''),
      Buffer.from([0x7b, 0xff, 0x7d]),
      whole.subarray(0, -20),
      Buffer.from('['.repeat(200_000)),
      Buffer.from('['.repeat(100_000) + ']'.repeat(100_000)),
    ])
      expect(normalised('lab', 'alertmanager', readJson(wrong), {})).toEqual({
        alerts: [],
        ignored: 'the body is no JSON',
      });
  });

  const odd = [
    null,
    '',
    0,
    -1,
    1e308,
    true,
    [],
    {},
    [[]],
    { a: { b: 1 } },
    'x',
    evil,
    ['__proto__'],
    'constructor',
    '\u0000',
  ];

  test.each(Object.keys(kinds) as KindName[])(
    '%s: a body of any shape gives harmless alerts or a reason, and never throws',
    (kind) => {
      const { said }: Kind = kinds[kind];
      const mapping = Mapping.parse({ problem: 'body.id', status: 'body.status', labels: 'body.labels' });
      const bodies = names.filter((name) => kindOf(name) === kind || kind === 'jsm').map(payload);
      let seed = 7;
      const chance = (below: number) => (seed = (seed * 48_271) % 2_147_483_647) % below;
      /** One value somewhere in the body replaced by an odd one, or its key left out. */
      const broken = (value: unknown, depth = 0): unknown => {
        if (typeof value !== 'object' || value === null || (depth > 0 && chance(4) === 0))
          return odd[chance(odd.length)];
        const copy = structuredClone(value) as Record<string, unknown>;
        const keys = Object.keys(copy);
        const key = keys[chance(Math.max(1, keys.length))];
        if (key === undefined) return copy;
        if (chance(5) === 0) delete copy[key];
        else copy[key] = broken(copy[key], depth + 1);
        return copy;
      };
      for (const body of [...odd, ...bodies.flatMap((one) => Array.from({ length: 100 }, () => broken(one)))])
        for (const headers of [{}, structured, { 'content-type': 'application/cloudevents-batch+json' }])
          for (const given of [undefined, mapping]) {
            said(body, headers, given);
            const { alerts, ignored } = normalised('lab', kind, body, headers, given);
            for (const one of alerts) Alert.parse(one);
            if (alerts.length === 0 && !ignored) throw new Error(`no reason: ${JSON.stringify(body)}`);
            if (ignored && plainText(ignored, 2000) !== ignored) throw new Error(`not harmless: ${ignored}`);
          }
    },
  );
});

describe('a whole message', () => {
  const token = '0123456789abcdef';
  const headers = { authorization: `Bearer ${token}` };
  const of = (kind: KindName, body: Uint8Array, name = 'lab', more: Headers = headers) =>
    taken(
      name,
      Source.parse({ kind, auth: { scheme: 'bearer', secrets: [{ env: 'A' }] } }),
      { secrets: [token], names: [] },
      more,
      body,
      0,
    );
  const bytes = (name: string) => readFileSync(join(folder, `${name}.json`));
  const key = (said: ReturnType<typeof of>) => (said.ok ? said.delivery : said.why);

  test('is refused before a byte of it is read', () => {
    expect(of('alertmanager', bytes('alertmanager-firing'), 'lab', {})).toEqual({ ok: false, why: 'no such header' });
  });

  test('is the same delivery when it comes again, and another one in every other case', () => {
    const firing = bytes('alertmanager-firing');
    expect(of('alertmanager', firing)).toMatchObject({
      ok: true,
      rememberMs: 300_000,
      alerts: [{ status: 'firing' }],
    });
    expect(key(of('alertmanager', firing))).toBe(key(of('alertmanager', firing)));
    const pager = bytes('pagerduty');
    const copy = Buffer.from(`${JSON.stringify(JSON.parse(pager.toString()), null, 1)}\n`);
    expect(key(of('pagerduty', copy, 'lab', { ...headers, 'x-webhook-id': 'changed' }))).toBe(
      key(of('pagerduty', pager)),
    );
    const all = [of('alertmanager', firing), of('alertmanager', firing, 'other'), of('alertmanager', bytes('alertmanager-resolved')), of('pagerduty', pager), of('pagerduty', bytes('pagerduty-note'))]; // prettier-ignore
    expect(new Set(all.map(key)).size).toBe(5);
  });

  test('of the largest size is read at once', () => {
    const alert = {
      status: 'firing',
      labels: { namespace: 'shop', service: 'echo', node: 'n1' },
      startsAt: '2026-11-25T01:47:03Z',
    };
    const alerts = Array.from({ length: 1900 }, (_, index) => ({ ...alert, fingerprint: `${index}` }));
    const body = Buffer.from(JSON.stringify({ version: '4', alerts }));
    expect(body.length).toBeGreaterThan(200_000);
    of('alertmanager', body);
    const started = performance.now();
    expect(of('alertmanager', body)).toMatchObject({ alerts: { length: 1900 } });
    expect(performance.now() - started).toBeLessThan(2000);
  });
});

describe('configuration of sources', () => {
  const secrets = [{ env: 'A' }];

  test('the kind says the scheme where none is named', () => {
    expect(Source.parse({ kind: 'pagerduty', auth: { secrets } }).auth.scheme).toBe('pagerduty');
    expect(Source.parse({ kind: 'alertmanager', auth: { secrets } }).auth.scheme).toBe('bearer');
    expect(Source.parse({ kind: 'pagerduty', auth: { scheme: 'basic', secrets } }).auth.scheme).toBe('basic');
  });

  test.each([
    ['no authentication', { kind: 'alertmanager' }],
    ['an unknown kind', { kind: 'constructor', auth: { secrets } }],
    ['a generic source without a mapping', { kind: 'generic', auth: { secrets } }],
    ['a mapping where the vendor says the shape', { kind: 'grafana', auth: { secrets }, mapping: { problem: "'x'", status: "'firing'" } }], // prettier-ignore
    ['a header scheme without its header', { kind: 'jsm', auth: { secrets } }],
  ])('%s is refused', (_, source) => expect(Source.safeParse(source).success).toBe(false));

  test('names of sources fit into URLs and ids', () => {
    const source = { kind: 'alertmanager', auth: { secrets } };
    expect(Sources.safeParse({ 'prod-am': source }).success).toBe(true);
    for (const name of ['', 'a/b', 'A', '-a', 'x'.repeat(41), '__proto__']) expect(Sources.safeParse(JSON.parse(`{"${name}":${JSON.stringify(source)}}`)).success && name !== '__proto__').toBe(false); // prettier-ignore
  });

  test('the table of kinds says of replays what the default scheme gives', () => {
    for (const { auth, replay } of Object.values(kinds) as Kind[])
      if (auth !== 'header' && auth !== 'hmac') expect(replay).toBe(replayOf({ scheme: auth, header: 'x' } as never));
  });
});
