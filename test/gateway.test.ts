import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { createHmac, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Session } from '../cli/session.ts';
import { currentStop } from '../client/stop.ts';
import type { Serving } from '../gateway/serve.ts';
import { type IncidentProgress, incidentId } from '../domain/incident.ts';
import { down, faultNamed, heal, inject, labInventory, up } from '../lab/lab.ts';
import { openGateway } from './support/gateway.ts';
import { Browser, Provider } from './support/people.ts';
import { Listener, slackMessage } from './support/slack.ts';
import { real } from './support/machine.ts';
import { root } from './support/imports.ts';
import { Person, Road, approvalBy } from './support/road.ts';
import { until } from './support/until.ts';

const fault = faultNamed('broken-tx-checksum');
const [alice, bob] = [new Person('alice'), new Person('bob')];
const token = randomUUID();
const secret = randomUUID();
const provider = new Provider({ 'alice-at-idp': ['sre'], 'bob-at-idp': [], 'dora-at-idp': [], 'mallory-at-idp': [] });

const configText = (url: string, port: number, slackApi: string): string => `
listen: { port: ${port} }
url: ${url}
incidents: { windowSeconds: 1 }
oidc: { issuer: '${provider.issuer}', clientId: undrop, clientSecret: { env: UNDROP_T_CLIENT } }
sources:
  alerts:
    kind: alertmanager
    auth: { secrets: [{ env: UNDROP_T_TOKEN }] }
    targets: { ends: inventory, allow: [h1, h2] }
  pages:
    kind: pagerduty
    auth: { secrets: [{ env: UNDROP_T_SECRET }] }
    targets:
      ends: inventory
      allow: [h1, h2]
      rules: [{ when: 'true', target: '"h1->h2"' }]
people: [{ name: alice, oidc: alice-at-idp, slack: U1 }, { name: bob, oidc: bob-at-idp, slack: U2 }, { name: dora, oidc: dora-at-idp }]
slack: { signingSecret: { env: UNDROP_T_SECRET }, token: { env: UNDROP_T_TOKEN }, channel: C1, api: '${slackApi}' }
notify: [{ url: '${slackApi}hook', secret: { env: UNDROP_T_WEBHOOK } }]
machines: [{ name: pipeline, tokens: [{ env: UNDROP_T_TOKEN }] }, { name: warden, tokens: [{ env: UNDROP_T_SECRET }] }]
roles:
  - { role: approve, who: [alice], targets: ['h1->*'] }
  - { role: view, who: [bob] }
  - { role: start, who: [pipeline] }
  - { role: administer, who: [dora, warden] }
`;

const listener = new Listener();
const webhookSecret = `whsec_${Buffer.from(randomUUID()).toString('base64')}`;

let road: Road;
let session: Session;
let gateway: Serving;

/** What an Alertmanager sends: one alert about a target, of so many different ones. */
const alertBody = (status: 'firing' | 'resolved', target = fault.target, number = 0): string =>
  readFileSync(join(root, `test/payloads/alertmanager-${status}.json`), 'utf8')
    .replaceAll(/"labels":\s*\{/g, `"labels":{"undrop_target":${JSON.stringify(target)},`)
    .replaceAll(/"fingerprint":\s*"\w+"/g, `"fingerprint":"${number}"`);

const post = async (path: string, body: string, headers: Record<string, string> = {}): Promise<{ status: number; json: Record<string, unknown> }> => {
  const answer = await fetch(`${gateway.address}${path}`, { method: 'POST', body, headers: { 'content-type': 'application/json', ...headers } });
  return { status: answer.status, json: (await answer.json()) as Record<string, unknown> };
}; // prettier-ignore
const bearer = { authorization: `Bearer ${token}` };

const incident = async (): Promise<IncidentProgress | undefined> =>
  session.engine.client.workflow
    .getHandle(incidentId(session.inventory.name, fault.target))
    .query<IncidentProgress>('progress')
    .catch(() => undefined);

real(
  'ip',
  'ethtool',
  'iptables',
  'chromium',
)('the gateway, from an alert to the cure on a real kernel', () => {
  beforeAll(async () => {
    Object.assign(process.env, {
      UNDROP_T_TOKEN: token,
      UNDROP_T_SECRET: secret,
      UNDROP_T_WEBHOOK: webhookSecret,
      UNDROP_T_CLIENT: provider.secret,
    });
    road = new Road();
    await up('netns');
    await inject(fault);
    await road.open();
    const own = { ...labInventory('netns'), approval: approvalBy([alice, bob]) };
    const { port, url } = await provider.openFor();
    const config = configText(url, port, await listener.open());
    ({ gateway, session } = await openGateway(road, config, own));
  }, 180_000);
  afterAll(async () => {
    await gateway?.close();
    await heal(fault);
    await provider.close();
    await listener.close();
    await road.close();
    await down('netns');
  }, 60_000);

  test('what is not proved to come from the sender is refused, and starts nothing', async () => {
    const body = alertBody('firing');
    expect((await post('/hooks/alerts', body)).status).toBe(401);
    expect((await post('/hooks/alerts', body, { authorization: 'Bearer wrong' })).status).toBe(401);
    expect((await post('/hooks/nobody', body, bearer)).status).toBe(404);
    expect((await post('/hooks/alerts', 'x'.repeat(300_000), bearer)).status).toBe(413);
    expect((await post('/hooks/alerts', body.slice(0, 100), bearer)).json).toMatchObject({ accepted: 0 });
    expect((await post('/hooks/alerts', alertBody('firing', 'client->elsewhere'), bearer)).json).toMatchObject({
      accepted: 0,
    });
    expect(await incident()).toBeUndefined();
  });

  test('an alert opens one incident however often it comes, and a person approves its plan on the page', async () => {
    for (const number of [0, 1, 2])
      expect((await post('/hooks/alerts', alertBody('firing', fault.target, number), bearer)).json).toMatchObject({
        accepted: 1,
      });
    await until('the incident has a plan', async () => (await incident())?.runs[0]?.remediation !== undefined, 90_000);
    // Sent once more because the answer was lost: nothing happens.
    expect(await post('/hooks/alerts', alertBody('firing'), bearer)).toMatchObject({
      status: 200,
      json: { repeated: true },
    });
    const known = await incident();
    expect(known).toMatchObject({
      target: fault.target,
      problems: [{ times: 1 }, { times: 1 }, { times: 1 }],
      runs: [{ kind: 'explained' }],
    });
    expect(known?.runs).toHaveLength(1);
    const run = known?.runs[0]?.run ?? '';

    const bobs = await Browser.open();
    const alices = await Browser.open({ phone: true });
    try {
      await bobs.signIn(`${gateway.address}/runs/${run}`, 'bob-at-idp');
      await bobs.sees('OFFLOAD-CSUM-TX at h1');
      await bobs.sees('You cannot decide on this plan: you have no role');
      await alices.signIn(`${gateway.address}/runs/${run}`, 'alice-at-idp');
      await alices.sees('Approve exactly this');
      await alices.sees('Ruled out');
      // Bob takes the form of alice's page and sends it as himself.
      expect(await bobs.sends(`/runs/${run}/decide`, await alices.form())).toBe(403);
      await alices.press('Approve exactly this');
      expect(await alices.outcome(90_000)).toBe('confirmed');
      expect(await alices.fits()).toBe(true);
    } finally {
      await bobs.close();
      await alices.close();
    }
    const { decisions } = (await session.engine.client.workflow.getHandle(`remediate/${run}`).result()) as {
      decisions: object[];
    };
    expect(decisions).toMatchObject([{ principal: 'alice', via: 'gateway', decision: 'approve' }]);

    for (const number of [0, 1, 2])
      expect((await post('/hooks/alerts', alertBody('resolved', fault.target, number), bearer)).json).toMatchObject({
        accepted: 1,
      });
    await until('the incident is resolved', async () => (await incident())?.phase === 'resolved', 10_000);
  }, 240_000);

  test('an unknown person of the identity provider is nobody here', async () => {
    const browser = await Browser.open();
    try {
      await browser.signIn(`${gateway.address}/`, 'mallory-at-idp');
      await browser.sees('is nobody that this gateway knows');
    } finally {
      await browser.close();
    }
  }, 60_000);

  describe('a sender that signs and does not tell the time', () => {
    const body = JSON.stringify({ event: { id: randomUUID(), event_type: 'incident.triggered', resource_type: 'incident', occurred_at: new Date().toISOString(), data: { id: 'P1', type: 'incident', title: 'udp', status: 'triggered', html_url: 'https://example.invalid/p1' } } }); // prettier-ignore
    const signature = `v1=${createHmac('sha256', secret).update(body).digest('hex')}`;

    test('is taken once: a replay has no effect', async () => {
      const send = async () => post('/hooks/pages', body, { 'x-pagerduty-signature': signature });
      expect((await send()).json).toMatchObject({ accepted: 1 });
      const before = await until('it came', async () => {
        const problems = (await incident())?.problems ?? [];
        return problems.some(({ title }) => title === 'udp') && problems;
      });
      expect(await send()).toMatchObject({ status: 200, json: { repeated: true } });
      expect((await incident())?.problems).toEqual(before);
    });
  });

  describe('Slack and webhooks', () => {
    const click = async (user: string, value: object, more = {}) => {
      const payload = { type: 'block_actions', user: { id: user }, trigger_id: 'T1', actions: [{ action_id: 'reject', value: JSON.stringify(value) }], ...more };
      const { body, headers } = slackMessage(secret, payload);
      return (await fetch(`${gateway.address}/slack`, { method: 'POST', body, headers })).status;
    }; // prettier-ignore
    const submit = async (user: string, value: object, reason: string, signed: string = secret): Promise<object> => {
      const view = { callback_id: 'reject', private_metadata: JSON.stringify(value), state: { values: { reason: { text: { value: reason } } } } };
      const { body, headers } = slackMessage(signed, { type: 'view_submission', user: { id: user }, view });
      return (await (await fetch(`${gateway.address}/slack`, { method: 'POST', body, headers })).json()) as object;
    }; // prettier-ignore

    test('the plan that was approved on the page was shown there, and its message became the outcome', async () => {
      await until('the message says how it ended', () => listener.last('chat.update', 'confirmed') !== undefined, 20_000);
      expect(listener.last('chat.postMessage')).toMatchObject({ channel: 'C1', blocks: expect.stringContaining('tx-checksum') }); // prettier-ignore
    });

    test('a program is told by a signed webhook, each event once', async () => {
      await until('both events came', () => listener.calls.filter(({ method }) => method === 'hook').length >= 2, 20_000);
      expect(listener.told(webhookSecret)).toMatchObject([{ type: 'plan.waiting' }, { type: 'plan.ended', data: { outcome: 'confirmed' } }]);
    });

    test('somebody rejects there with a reason; strangers, forgeries and old plans have no effect', async () => {
      // The change of before was confirmed and stays; this puts the device back, and breaks it again.
      await heal(fault);
      await inject(fault);
      const started = await post('/api/v1/runs', JSON.stringify({ target: fault.target, windowSeconds: 1, propose: true }), bearer);
      expect(started.status).toBe(202);
      const run = String(started.json['run']);
      await until('the plan is in the channel', () => listener.last('chat.postMessage', run) !== undefined, 90_000);
      const blocks = JSON.parse(listener.last('chat.postMessage', run)?.['blocks'] ?? '[]') as { elements?: { value: string }[] }[];
      const value = JSON.parse(blocks.at(-1)?.elements?.[0]?.value ?? '{}') as { run: string; digest: string };
      expect(value.run).toBe(run);

      expect(await click('U1', value)).toBe(200);
      expect(listener.last('views.open')).toMatchObject({ trigger_id: 'T1', view: expect.stringContaining('as alice') });
      expect(await submit('U1', value, 'forged', 'wrong')).toEqual({ error: 'not authenticated' });
      expect(await submit('U9', value, 'no')).toMatchObject({ errors: { reason: expect.stringContaining('nobody that this gateway knows') } });
      expect(await submit('U2', value, 'no')).toMatchObject({ errors: { reason: expect.stringContaining('no role') } });
      expect(await submit('U1', { ...value, digest: 'a'.repeat(64) }, 'no')).toMatchObject({ errors: { reason: expect.stringContaining('look at it again') } });
      expect(await submit('U1', value, ' ')).toMatchObject({ errors: { reason: expect.stringContaining('needs a reason') } });
      expect(await submit('U1', value, 'not during the sale')).toEqual({ response_action: 'clear' });
      expect(await submit('U1', value, 'again')).toMatchObject({ errors: { reason: expect.stringMatching(/already rejected|completed/) } });
      const result = await session.engine.client.workflow.getHandle(`remediate/${run}`).result();
      expect(result).toMatchObject({ outcome: 'rejected', says: expect.stringContaining('alice rejected it: not during the sale') });
    }, 120_000);

    test('a plan that was terminated is told as failed', async () => {
      const started = await post('/api/v1/runs', JSON.stringify({ target: fault.target, windowSeconds: 1, propose: true }), bearer);
      const run = String(started.json['run']);
      const told = (type: string) => listener.told(webhookSecret).find((one) => one.type === type && JSON.stringify(one).includes(run));
      await until('it waits', () => told('plan.waiting') !== undefined, 90_000);
      await session.engine.client.workflow.getHandle(`remediate/${run}`).terminate('a test');
      await until('its end is told', () => told('plan.ended') !== undefined, 20_000);
      expect(told('plan.ended')).toMatchObject({ data: { outcome: 'failed' } });
    }, 120_000);
  }); // prettier-ignore

  describe('stopping everything', () => {
    const warden = { authorization: `Bearer ${secret}` };
    const begun = async (): Promise<unknown> => {
      const started = await post('/api/v1/runs', JSON.stringify({ target: fault.target, windowSeconds: 1 }), bearer);
      return session.engine.client.workflow.getHandle(`diagnose/${String(started.json['run'])}`).result();
    };
    const stopped = { cause: { cause: { message: expect.stringContaining('everything was stopped by') } } };

    test('by a program that may, and by nobody else; until it is resumed no run begins', async () => {
      const reason = JSON.stringify({ reason: 'a test' });
      expect((await post('/api/v1/stop', reason, bearer)).status).toBe(403);
      expect((await post('/api/v1/stop', '{}', warden)).status).toBe(400);
      expect((await post('/api/v1/stop', reason, warden)).status).toBe(200);
      await expect(begun()).rejects.toMatchObject(stopped);
      expect(await post('/api/v1/resume', '{}', warden)).toEqual({ status: 200, json: { wasStopped: true } });
    }, 120_000);

    test('by a person on the page', async () => {
      const browser = await Browser.open();
      try {
        await browser.signIn(`${gateway.address}/`, 'dora-at-idp');
        await browser.unfold('Stop everything');
        await browser.write('reason', 'loss got worse');
        await browser.press('Stop everything');
        await browser.sees('Nothing begins until somebody lets it go on');
        await expect(begun()).rejects.toMatchObject(stopped);
        await browser.goes('/');
        await browser.sees('everything was stopped by dora');
        await browser.unfold('Stop everything');
        await browser.press('Let it go on');
        await until('it goes on', async () => (await currentStop(session)) === undefined);
      } finally {
        await browser.close();
      }
    }, 120_000);
  }); // prettier-ignore

  describe('programs', () => {
    const get = async (path: string, headers = bearer): Promise<Response> =>
      fetch(`${gateway.address}${path}`, { headers });

    test('list runs, start one, and never decide', async () => {
      expect((await get('/api/v1/runs', { authorization: 'Bearer wrong' })).status).toBe(401);
      const runs = (await (await get('/api/v1/runs')).json()) as { run: string; target: string }[];
      expect(runs[0]).toMatchObject({ target: fault.target });
      const run = runs.at(-1)?.run ?? '';
      expect(await (await get(`/api/v1/runs/${run}`)).json()).toMatchObject({
        run,
        remediation: { outcome: 'confirmed' },
      });
      expect((await get('/api/v1/runs/20260101-0000-nobody')).status).toBe(404);
      const late = { digest: 'a'.repeat(64), decision: 'approve', principal: 'alice', signature: '' };
      expect((await post(`/api/v1/runs/${run}/decide`, JSON.stringify(late), bearer)).status).toBe(409);
      expect((await post('/api/v1/runs', '{"target":5}', bearer)).status).toBe(400);
    });

    test('find health, readiness, metrics and a description', async () => {
      expect((await get('/healthz')).status).toBe(200);
      expect(await (await get('/readyz')).json()).toEqual({ temporal: true, database: true });
      expect(await (await get('/metrics')).text()).toMatch(
        /undrop_deliveries_total\{source="alerts",outcome="forged"\} 2/,
      );
      const described = (await (await get('/api/v1/openapi.json')).json()) as { paths: object };
      expect(Object.keys(described.paths)).toEqual(expect.arrayContaining(['/api/v1/runs', '/api/v1/runs/{run}']));
    });
  });
});
