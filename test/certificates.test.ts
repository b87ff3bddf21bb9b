import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { incidentId } from '../domain/incident.ts';
import { Inventory } from '../domain/inventory.ts';
import { type GatewayConfig, parseConfig } from '../gateway/config.ts';
import { provedNames } from '../gateway/people/certificates.ts';
import { type Serving, serve } from '../gateway/serve.ts';
import { knownRuns } from '../client/runs.ts';
import type { Session } from '../cli/session.ts';
import { loadRunbook } from '../runbooks/load.ts';
import { evidenceStore } from '../worker/evidence.ts';
import { type Asked, Authority, type Issued, ask } from './support/certificates.ts';
import { real } from './support/machine.ts';
import { Road } from './support/road.ts';
import { until } from './support/until.ts';

const token = 'a-secret-of-the-pipeline-that-is-long-enough';
const folder = mkdtempSync(join(tmpdir(), 'undrop-t-certificates-'));
const nodes = { a: { shell: 'local', address: '127.0.0.1' }, b: { shell: 'local', address: '127.0.0.1' } };
const inventory = Inventory.parse({ name: 'certificates', nodes });
const pipeline = 'URI:spiffe://prod.example/pipeline';
const alertmanager = 'DNS:alertmanager.example';

const config = (): string => `
listen: { port: 0 }
tls: { cert: ${join(folder, 'tls.crt')}, key: ${join(folder, 'tls.key')}, clientCa: ${join(folder, 'clients.crt')} }
sources:
  alerts:
    kind: alertmanager
    auth: { scheme: certificate, names: ['${alertmanager}'] }
    targets: { ends: inventory, allow: ['*'] }
machines:
  - { name: pipeline, certificates: ['${pipeline}'] }
  - { name: reader, certificates: ['URI:spiffe://prod.example/reader'], tokens: [{ env: UNDROP_T_TOKEN }] }
roles: [{ role: start, who: [pipeline] }, { role: view, who: [reader] }]
`;

real('openssl')('certificates of machines and senders', () => {
  let [road, session, gateway]: [Road, Session, Serving] = [] as never;
  let [ours, others, servers]: [Authority, Authority, Authority] = [] as never;

  const put = (issued: Issued): void => {
    copyFileSync(issued.files.key, join(folder, 'tls.key'));
    copyFileSync(issued.files.cert, join(folder, 'tls.crt'));
  };
  const at = (path: string): string => `https://localhost:${new URL(gateway.address).port}${path}`;
  const status = async (path: string, asked: Asked): Promise<number> => (await ask(at(path), servers.pem, asked)).status; // prettier-ignore
  const starts = async (shows: Issued | undefined, headers = {}): Promise<number> =>
    status('/api/v1/runs', { shows, headers, body: JSON.stringify({ target: 'a->b' }) });
  const runs = async (): Promise<number> => (await knownRuns(session, 10)).length;
  const alert = { status: 'firing', labels: { undrop_target: 'a->b' }, annotations: {}, startsAt: '2026-11-25T00:00:00Z', endsAt: '0001-01-01T00:00:00Z', fingerprint: 'f' }; // prettier-ignore
  const tells = async (shows: Issued | undefined): Promise<number> =>
    status('/hooks/alerts', { shows, body: JSON.stringify({ version: '4', status: 'firing', groupKey: 'g', receiver: 'r', alerts: [alert] }) }); // prettier-ignore
  const incident = async (): Promise<boolean> =>
    session.engine.client.workflow.getHandle(incidentId('certificates', 'a->b')).describe().then(() => true, () => false); // prettier-ignore

  /** Whatever is wrong with a certificate of this name. */
  const wrong = (name: string): [string, Issued | undefined][] => [
    ['none', undefined],
    ['another authority', others.issue([name])],
    ["the server's own authority", servers.issue([name])],
    ['expired', ours.issue([name], { days: -1 })],
    ['another name', ours.issue(['URI:spiffe://prod.example/elsewhere', 'DNS:elsewhere.example'])],
    ['a longer name', ours.issue([`${name}.evil.example`])],
    ['a wildcard', ours.issue(['DNS:*.example'])],
    ['the name as common name only', ours.issue([], { common: name.replace(/^\w+:/, '') })],
    [
      'the name of another kind',
      ours.issue([name.startsWith('URI') ? `DNS:${name.slice(4)}` : `URI:${name.slice(4)}`]),
    ],
    ['the name inside of another one', ours.issue([`DNS:x, ${name}, y`])],
    ['a certificate for servers', ours.issue([name], { usage: 'serverAuth' })],
  ];

  beforeAll(async () => {
    process.env['UNDROP_T_TOKEN'] = token;
    [ours, others, servers] = [new Authority(folder, 'ours'), new Authority(folder, 'others'), new Authority(folder, 'servers')];
    copyFileSync(ours.file, join(folder, 'clients.crt'));
    put(servers.issue(['DNS:localhost'], { usage: 'serverAuth' }));
    road = new Road();
    await road.open();
    session = await road.session(inventory, false);
    const { engine, taskQueue } = session;
    const reach = { engine, taskQueue, inventory };
    gateway = await serve(parseConfig(config(), 'gateway.yaml'), { reach, runbook: loadRunbook(), store: evidenceStore(), folder: road.data, level: 'silent' });
  }, 60_000); // prettier-ignore
  afterAll(async () => {
    await gateway?.close();
    await road.close();
    rmSync(folder, { recursive: true });
  });

  test('a machine without the right one starts nothing', async () => {
    for (const [what, shows] of wrong(pipeline)) expect({ what, status: await starts(shows) }).toEqual({ what, status: 401 }); // prettier-ignore
    // A machine that is known and has no such role, by its certificate and by its token.
    expect(await starts(ours.issue(['URI:spiffe://prod.example/reader']))).toBe(403);
    expect(await starts(undefined, { authorization: `Bearer ${token}` })).toBe(403);
    // A wrong token is not made good by a certificate.
    expect(await starts(ours.issue([pipeline]), { authorization: 'Bearer wrong' })).toBe(401);
    expect(await runs()).toBe(0);
  });

  test('a machine with the right one, also among other names, starts a run', async () => {
    expect(await starts(ours.issue(['DNS:other.example', pipeline]))).toBe(202);
    expect(await runs()).toBe(1);
  });

  test('a sender without the right one opens no incident; with it, it does', async () => {
    for (const [what, shows] of wrong(alertmanager)) expect({ what, status: await tells(shows) }).toEqual({ what, status: 401 }); // prettier-ignore
    // A machine's certificate is no sender's.
    expect(await tells(ours.issue([pipeline]))).toBe(401);
    expect(await incident()).toBe(false);
    expect([200, 202]).toContain(await tells(ours.issue(['DNS:ALERTMANAGER.example'])));
    await until('the incident is there', incident);
  });

  test('people come without one', async () => {
    expect(await status('/', { method: 'GET' })).toBe(302);
    expect(await status('/healthz', { method: 'GET' })).toBe(200);
  });

  test("the gateway's own certificate is replaced while it runs", async () => {
    const before = await ask(at('/healthz'), servers.pem, { method: 'GET' });
    put(servers.issue(['DNS:localhost'], { usage: 'serverAuth' }));
    const after = await until('another certificate', async () => {
      const answer = await ask(at('/healthz'), servers.pem, { method: 'GET' });
      return answer.serial === before.serial ? undefined : answer;
    }, 20_000); // prettier-ignore
    expect(after.status).toBe(200);
    // Clients are asked for theirs as before.
    expect(await starts(ours.issue([pipeline]))).toBe(202);
    expect(await starts(others.issue([pipeline]))).toBe(401);
  }, 60_000);

  test('a configuration that could prove nobody is refused', () => {
    const without =
      (text: string): (() => GatewayConfig) =>
      () =>
        parseConfig(text, 'gateway.yaml');
    expect(without(config().replace(/, clientCa: \S+/, ''))).toThrow(/certificates of clients need tls.clientCa/);
    expect(without(`machines: [{ name: nobody }]`)).toThrow(/nobody has no token and no certificate/);
    for (const name of ['DNS:*.example', 'CN:x', 'spiffe://x', 'URI:*', 'DNS:a, DNS:b', 'DNS:'])
      expect(without(`machines: [{ name: one, certificates: ['${name}'] }]`)).toThrow(/give URI:… or DNS:… in full/);
  });
});

test('a plain connection proves no name', () => {
  expect(provedNames({ authorized: true } as never)).toEqual([]);
});
