import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { newKey, publicLine, sshKey } from '../activities/signature.ts';
import type { Session } from '../cli/session.ts';
import { decide } from '../client/plans.ts';
import type { Decision } from '../domain/approval.ts';
import { Inventory } from '../domain/inventory.ts';
import type { DiagnoseResult, RemediateResult } from '../domain/runs.ts';
import { parseConfig } from '../gateway/config.ts';
import { decideFor } from '../gateway/decide.ts';
import type { Gateway } from '../gateway/gateway.ts';
import { Metrics } from '../gateway/metrics.ts';
import type { Serving } from '../gateway/serve.ts';
import type { Asked } from '../gateway/view.ts';
import { type Command, Commands } from './support/commands.ts';
import { callApi, openGateway } from './support/gateway.ts';
import { Namespaces, real } from './support/machine.ts';
import { Pair } from './support/pair.ts';
import { Provider } from './support/people.ts';
import { Person, Road, approvalBy, diagnosed, planned } from './support/road.ts';
import { Listener } from './support/slack.ts';
import { until } from './support/until.ts';
import { Visit } from './support/visit.ts';

const alice = new Person('alice');
const token = randomUUID();
const webhookSecret = `whsec_${Buffer.from(randomUUID()).toString('base64')}`;
/** Carol decides with the command, and her own key. */
const carols = newKey();
const listener = new Listener();
const namespaces = new Namespaces();
const commands = new Commands();
const provider = new Provider({ alice: [] });

const configText = (url: string, port: number, hook: string): string => `
listen: { port: ${port} }
url: ${url}
oidc: { issuer: '${provider.issuer}', clientId: undrop, clientSecret: { env: UNDROP_T_CLIENT } }
people: [{ name: alice, oidc: alice }]
notify: [{ url: '${hook}hook', secret: { env: UNDROP_T_WEBHOOK } }]
machines: [{ name: pipeline, tokens: [{ env: UNDROP_T_API }] }]
roles:
  - { role: approve, who: [alice] }
  - { role: start, who: [pipeline] }
`;

let road: Road;
let session: Session;
let gateway: Serving;
let pair: Pair;
let diagnosis: DiagnoseResult;
let visit: Visit;
let text: string;
let worker: Command;

const api = async <T = Record<string, unknown>>(path: string, body?: object) => callApi<T>(gateway, token, path, body);
const undrop = (...words: string[]): Command => commands.start([...words, '-i', road.file(session.inventory)]);
const working = async (): Promise<Command> => {
  const started = undrop('worker');
  await started.says('working on');
  return started;
};

real('ip', 'sysctl')('what people hand in', () => {
  beforeAll(async () => {
    road = new Road();
    await road.open();
    pair = await Pair.make(namespaces, 'hands');
    const { port, url } = await provider.openFor();
    Object.assign(process.env, {
      UNDROP_T_API: token,
      UNDROP_T_WEBHOOK: webhookSecret,
      UNDROP_T_CLIENT: provider.secret,
    });
    const { approvers, ...rules } = approvalBy([alice]);
    const carol = { name: 'carol', key: publicLine(sshKey(carols)) };
    const inventory = Inventory.parse({ ...pair.inventory, approval: { ...rules, approvers: [...approvers, carol] } });
    text = configText(url, port, await listener.open());
    ({ gateway, session } = await openGateway(road, text, inventory, { work: false }));
    // A process of its own, which can be killed.
    worker = await working();
    await pair.break();
    diagnosis = await diagnosed(session, pair.target);
    visit = new Visit(gateway.address);
    await visit.signIn('/', 'alice');
  }, 120_000);
  afterAll(async () => {
    await commands.end();
    await gateway?.close();
    await provider.close();
    await listener.close();
    await road.close();
    namespaces.remove();
  }, 60_000);

  test('what people write beside a decision is one plain line by every door, and silences no end', async () => {
    const { run } = diagnosis;
    const path = `runs/${run}/decide`;
    const hostile = 'no\u0000t \u001b[31mdu\ud800ring\nthe sale ';
    const plain = expect.stringMatching(/^not during the sale$/);
    const told = (digest: string): string[] =>
      (listener.told(webhookSecret) as { type: string; data: { plan: string; decisions?: string[] } }[])
        .filter(({ type, data }) => type === 'plan.ended' && data.plan === digest)
        .flatMap(({ data }) => data.decisions ?? []);
    const ended = async (
      by: (id: string, digest: string) => Promise<unknown>,
    ): Promise<RemediateResult & { digest: string }> => {
      const { handle, signed } = await planned(session, diagnosis);
      await by(handle.workflowId, signed.digest);
      const result = (await handle.result()) as RemediateResult;
      await until('its end is told', () => told(signed.digest).length > 0, 20_000);
      return { ...result, digest: signed.digest };
    };
    const rejects = (id: string, digest: string, reason: string): Decision =>
      alice.decides(id, digest, { decision: 'reject', reason });

    const byPage = await ended(async () => {
      await visit.goes(`/${path.replace('/decide', '')}`);
      const { status } = await visit.sends(`/${path}`, {
        ...visit.form(),
        decision: 'reject',
        reason: hostile,
      });
      expect(status).toBe(303);
    });
    // A form carries no half of a pair: the browser makes another character of it.
    expect(byPage.decisions).toMatchObject([
      { principal: 'alice', reason: expect.stringMatching(/^not du\ufffdring the sale$/) },
    ]);

    const byApi = await ended(async (id, digest) => {
      for (const wrong of ['no\u0000', 'n\ud800o', 'no\nway', '\u001b[31mno'])
        expect((await api(path, rejects(id, digest, wrong))).status).toBe(400);
      expect((await api(path, rejects(id, digest, 'not  during the sale '))).status).toBe(200);
    });
    expect(byApi.says).toBe('alice rejected it: not  during the sale ');

    const byCommand = await ended(async () => {
      writeFileSync(join(road.data, 'carol'), carols, { mode: 0o600 });
      const command = undrop(
        'reject',
        run,
        '--key',
        join(road.data, 'carol'),
        '--reason',
        hostile.replaceAll('\u0000', '').replaceAll('\ud800', ''),
      );
      expect(await command.ended).toBe(0);
    });
    expect(byCommand.decisions).toMatchObject([{ principal: 'carol', reason: plain }]);

    const bySignal = await ended(async (id, digest) =>
      session.engine.client.workflow.getHandle(id).signal('decision', rejects(id, digest, hostile)),
    );
    expect(bySignal.outcome).toBe('rejected');
    expect(told(bySignal.digest)).toEqual([expect.stringContaining('alice: reject, "no\ufffdt')]);
  }, 120_000);

  test('what no worker looks at in time is handed over, which is not the same as refused: it counts later', async () => {
    const { handle, signed } = await planned(session, diagnosis);
    const path = `runs/${diagnosis.run}/decide`;
    const metrics = async (): Promise<string> => (await fetch(`${gateway.address}/metrics`)).text();
    worker.kill('SIGKILL');
    await worker.ended;
    const decision = alice.decides(handle.workflowId, signed.digest, { decision: 'reject', reason: 'not now' });
    const says = expect.stringMatching(/handed over, and it is not yet known whether it counts: no worker answers/);
    const own = { config: parseConfig(text, 'gateway.yaml'), key: sshKey(newKey()), engine: session.engine, metrics: new Metrics(async () => 0), log: { warn() {}, info() {} } }; // prettier-ignore
    const asked = { path: '', workflowId: handle.workflowId, targets: [pair.target], moving: false, plan: {} };
    const who = { name: alice.name, kind: 'person', groups: [] } as const;
    const said = { digest: signed.digest, decision: 'reject', reason: 'not now' } as const;
    const [byApi, byPage, byCommand] = await Promise.all([
      api(path, decision),
      decideFor(own as unknown as Gateway, 'page', who, asked as unknown as Asked, said),
      decide(handle, alice.decides(handle.workflowId, signed.digest, { decision: 'reject', reason: 'a copy' })).catch((error: unknown) => error), // prettier-ignore
    ]);
    expect(byApi).toEqual({ status: 202, json: { recorded: false, says } });
    expect(byPage).toEqual({ status: 202, why: says, open: true });
    expect(byCommand).toMatchObject({ message: says, code: 3 });
    expect(await metrics()).toMatch(/undrop_decisions_total\{door="api",counted="unknown"\} 1\n/);

    worker = await working();
    const { decisions } = (await handle.result()) as RemediateResult;
    expect(decisions.filter(({ refused }) => refused === undefined)).toMatchObject([{ principal: 'alice' }]);
    const before = Number(/door="api",counted="no"\} (\d+)/.exec(await metrics())?.[1] ?? 0);
    expect((await api(path, decision)).status).toBe(409);
    expect((await api('runs/20260101-0000-nobody/decide', decision)).status).toBe(404);
    expect(await metrics()).toContain(`undrop_decisions_total{door="api",counted="no"} ${before + 2}\n`);
  }, 120_000);
});
