import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { WorkflowHandle } from '@temporalio/client';
import { EvidenceStore } from '../activities/store.ts';
import type { Session } from '../cli/session.ts';
import { startRemediation } from '../client/start.ts';
import { incidentId } from '../domain/incident.ts';
import type { DiagnoseResult, RemediateResult } from '../domain/runs.ts';
import type { Serving } from '../gateway/serve.ts';
import { faultNamed, labInventory, up } from '../lab/lab.ts';
import { Postgres } from '../lab/postgres/server.ts';
import { openGateway } from './support/gateway.ts';
import { LabRoad } from './support/lab-road.ts';
import { real } from './support/machine.ts';
import { Provider } from './support/people.ts';
import { freePort } from './support/port.ts';
import { Person, approvalBy, diagnosed, planned } from './support/road.ts';
import { Listener, slackMessage } from './support/slack.ts';
import { until } from './support/until.ts';
import { Visit } from './support/visit.ts';

jest.setTimeout(180_000);
const fault = faultNamed('broken-tx-checksum');
const alice = new Person('alice');
const [secret, token] = [randomUUID(), randomUUID()];
const webhookSecret = `whsec_${Buffer.from(randomUUID()).toString('base64')}`;
const provider = new Provider({ alice: ['sre'] });
const listener = new Listener();
const folder = mkdtempSync(join(tmpdir(), 'undrop-t-notices-'));
const postgres = new Postgres(mkdtempSync(join(tmpdir(), 'undrop-t-postgres-')));

const configText = (url: string, port: number, slackApi: string): string => `
listen: { port: ${port} }
url: ${url}
oidc: { issuer: '${provider.issuer}', clientId: undrop, clientSecret: { env: UNDROP_T_CLIENT } }
people: [{ name: alice, oidc: alice, slack: U1 }]
slack: { signingSecret: { env: UNDROP_T_SECRET }, token: { env: UNDROP_T_SECRET }, channel: C1, api: '${slackApi}' }
notify: [{ url: '${slackApi}hook', secret: { env: UNDROP_T_WEBHOOK } }]
machines: [{ name: lost, tokens: [{ file: ${folder}/nowhere }] }, { name: pipeline, tokens: [{ env: UNDROP_T_TOKEN }] }]
roles: [{ role: approve, who: ['group:sre'] }, { role: view, who: [pipeline] }]
`;

const day = (days: number): string => new Date(Date.now() + days * 86_400_000).toISOString().slice(0, 10);
/** What the policy lets through without anybody where it is active; a shadow waits for people. */
const policy = (mode: 'active' | 'shadow'): void =>
  writeFileSync(join(folder, 'policy.yaml'), JSON.stringify({
    rules: [{
      name: 'offload', mode, remedies: ['disable-tx-checksum'], causes: ['OFFLOAD-CSUM-TX'], nodes: ['h*'], targets: ['h1->*'],
      approvals: 'none', standing: { by: [alice.name], given: day(-1), until: day(30) },
      largest: { nodes: 1, flows: 'any', services: 'any' },
    }],
  })); // prettier-ignore

let road: LabRoad;
let session: Session;
let diagnosis: DiagnoseResult;
/** Two of them, over one database. */
let gateways: Serving[] = [];
let early = '';
let ports: number[] = [];
const url = (at: number): string => `http://127.0.0.1:${ports[at]}`;

interface Told {
  type: string;
  data: { plan: string; outcome?: string; decisions?: string[] };
}
/** What a program was told of a plan, in the order in which it came. */
const told = (digest: string): Told[] =>
  (listener.told(webhookSecret) as Told[]).filter(({ data }) => data.plan === digest);
/** What Slack was told, as texts: messages with buttons by the plan beside which they are, and what became of each. */
const chat = (): { method: string; ts: string; blocks: string; buttons: boolean }[] =>
  listener.calls.flatMap(({ method, body }, at) => {
    if (!method.startsWith('chat.')) return [];
    const fields = new URLSearchParams(body);
    const blocks = fields.get('blocks') ?? '';
    return [{ method, ts: fields.get('ts') ?? listener.ts(at), blocks, buttons: blocks.includes('"actions"') }];
  });
const messages = (digest: string): ReturnType<typeof chat> => {
  const ts = chat().find(({ blocks }) => blocks.includes(digest))?.ts;
  return chat().filter((one) => one.ts === ts);
};

const cancelled = async (handle: WorkflowHandle): Promise<RemediateResult> => {
  await handle.cancel();
  return (await handle.result()) as RemediateResult;
};
/** A plan that waits for people. */
const proposed = async (by = session): ReturnType<typeof planned> => planned(by, diagnosis);
real(
  'ip',
  'ethtool',
  'iptables',
)('two gateways over one PostgreSQL, and a run that is planned more than once', () => {
  beforeAll(async () => {
    const secrets = { UNDROP_T_SECRET: secret, UNDROP_T_TOKEN: token, UNDROP_T_WEBHOOK: webhookSecret };
    Object.assign(process.env, secrets, { UNDROP_T_CLIENT: provider.secret });
    await postgres.open();
    road = new LabRoad('netns');
    policy('shadow');
    ports = [await freePort(), await freePort()];
    provider.redirects.push(...ports.map((_, at) => `${url(at)}/callback`));
    await provider.open();
    // Slower than a gateway's round: what one is sending, the other finds unsent.
    listener.slowMs = 2_500;
    await up('netns');
    await road.open();
    await road.breaks(fault.id);
    const own = { ...labInventory('netns'), name: 'told', approval: approvalBy([alice]), policy: join(folder, 'policy.yaml') }; // prettier-ignore
    const opened = await openGateway(road, configText(url(0), ports[0] ?? 0, await listener.open()), own, {
      databaseUrl: postgres.url,
      store: new EvidenceStore(join(folder, 'empty')),
      before: async (by) => {
        diagnosis = await diagnosed(by, fault.target);
        const { handle, signed } = await proposed(by);
        await cancelled(handle);
        early = signed.digest;
      },
    });
    ({ session } = opened);
    gateways = [opened.gateway, await opened.another()];
  });
  afterAll(async () => {
    await Promise.all(gateways.map(async (one) => one.close()));
    await provider.close();
    await listener.close();
    await road?.close();
    await postgres.close();
    rmSync(folder, { recursive: true });
  }, 60_000);

  test('groups count in Slack while somebody is signed in; each plan gets its own end, told once', async () => {
    const first = await proposed();
    const { digest } = first.signed;
    await until('it is told', () => told(digest).length > 0 && messages(digest).length > 0, 20_000);
    const reject = async (): Promise<object> => {
      const view = { callback_id: 'reject', private_metadata: JSON.stringify({ run: diagnosis.run, digest }), state: { values: { reason: { text: { value: 'no' } } } } }; // prettier-ignore
      const message = slackMessage(secret, { type: 'view_submission', user: { id: 'U1' }, view });
      return (await (await fetch(`${gateways[1]?.address}/slack`, { method: 'POST', ...message })).json()) as object;
    };
    expect(await reject()).toEqual({ response_action: 'errors', errors: { reason: expect.stringMatching(/no role.*while you are signed in at http/) } }); // prettier-ignore
    await new Visit(gateways[0]?.address ?? '').signIn('/', 'alice');
    expect(await reject()).toEqual({ response_action: 'clear' });
    expect(await first.handle.result()).toMatchObject({ outcome: 'rejected' });
    // No decision waits for evidence, which is on another machine here.
    const shows = [];
    for await (const { workflowId } of session.engine.client.workflow.list({ query: 'WorkflowType = "show"' })) shows.push(workflowId); // prettier-ignore
    expect(shows).toEqual([]);

    const second = await proposed();
    await until('the first has its end', () => told(digest).length > 1 && messages(digest).length > 1, 20_000);
    await until('the second is told', () => messages(second.signed.digest).length > 0, 20_000);
    await cancelled(second.handle);
    await until('the second has its end', () => told(second.signed.digest).length > 1 && messages(second.signed.digest).length > 1, 20_000); // prettier-ignore
    for (const [one, outcome] of [
      [digest, 'rejected'],
      [second.signed.digest, 'cancelled'],
    ] as const) {
      expect(told(one)).toMatchObject([{ type: 'plan.waiting' }, { type: 'plan.ended', data: { outcome } }]);
      expect(messages(one)).toMatchObject([{ method: 'chat.postMessage', buttons: true }, { method: 'chat.update', buttons: false, blocks: expect.stringContaining(outcome) }]); // prettier-ignore
    }
    expect(told(digest)[1]?.data.decisions).toEqual([expect.stringMatching(/alice by gateway: reject, "no"/)]);
  });

  test('a change that a policy lets through is told of with who approved it, without buttons', async () => {
    policy('active');
    const handle = await startRemediation(session, diagnosis, 'alert');
    const { outcome, signed } = (await handle.result()) as RemediateResult;
    expect(outcome).toBe('confirmed');
    const digest = signed?.digest ?? '';
    const about = () => chat().filter(({ blocks }) => blocks.includes('policy:offload'));
    await until('it is told', () => told(digest).length > 0 && about().length > 0, 20_000);
    const [first] = told(digest);
    expect(first).toMatchObject({ type: 'plan.ended', data: { outcome: 'confirmed', decisions: [expect.stringMatching(/policy:offload: approve, "standing approval of alice/)] } }); // prettier-ignore
    expect(about()).toMatchObject([{ method: 'chat.postMessage', buttons: false }]);
  });

  test('nothing was told twice, and nothing that had ended before the first start', async () => {
    await until('all is sent', async () => (await postgres.query('select 1 from undrop_notice where sent is null')).length === 0, 20_000); // prettier-ignore
    const ids = listener.calls.filter(({ method }) => method === 'hook').map(({ headers }) => headers['webhook-id']);
    expect(ids).toHaveLength(5);
    expect(new Set(ids).size).toBe(5);
    expect(listener.calls.filter(({ method }) => method === 'chat.postMessage')).toHaveLength(3);
    expect(early).toHaveLength(64);
    expect(told(early)).toEqual([]);
  });

  test('a machine whose token is missing keeps out nobody else; a browser gets a page where something is wrong', async () => {
    const get = async (path: string, headers: Record<string, string>): Promise<Response> =>
      fetch(`${gateways[0]?.address}${path}`, { headers });
    expect((await get('/api/v1/runs', { authorization: `Bearer ${token}` })).status).toBe(200);
    expect((await get('/api/v1/runs', { authorization: 'Bearer wrong' })).status).toBe(401);
    const page = await get('/nowhere', { accept: 'text/html,*/*;q=0.8' });
    expect([page.status, page.headers.get('content-type')]).toEqual([404, 'text/html; charset=utf-8']);
    expect(await page.text()).toContain('there is nothing here');
    expect(await (await get('/nowhere', {})).json()).toEqual({ error: 'there is nothing here' });
  });

  test('a list is there in seconds where no worker answers, and says so', async () => {
    const { client } = session.engine;
    const idle = { ...labInventory('netns'), name: 'idle' };
    const { gateway, session: nobody } = await openGateway(road, configText(url(1), ports[1] ?? 0, 'http://127.0.0.1:1/'), idle, { work: false }); // prettier-ignore
    const ids = Array.from({ length: 25 }, (_, at) => incidentId('idle', `target-${at}`));
    try {
      const { taskQueue } = nobody;
      await Promise.all(ids.map(async (workflowId, at) => client.workflow.start('incident', { workflowId, taskQueue, memo: { target: `target-${at}` } }))); // prettier-ignore
      const visit = new Visit(gateway.address);
      await visit.signIn('/runs/none', 'alice');
      let took = 0;
      const page = await until('all are listed', async () => {
        const begun = Date.now();
        const now = await visit.goes('/');
        took = Date.now() - begun;
        return (now.match(/no worker answers/g) ?? []).length === 25 && now;
      }, 10_000); // prettier-ignore
      expect(page).toContain('target-24');
      expect(took).toBeLessThan(6_000);
    } finally {
      await Promise.all(
        ids.map(async (id) =>
          client.workflow
            .getHandle(id)
            .terminate()
            .catch(() => {}),
        ),
      );
      await gateway.close();
    }
  });
});
