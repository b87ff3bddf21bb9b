import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import type { Session } from '../cli/session.ts';
import { resumeEverything, stopEverything } from '../client/stop.ts';
import { newRun } from '../client/start.ts';
import { Inventory } from '../domain/inventory.ts';
import type { DiagnoseResult } from '../domain/runs.ts';
import type { Serving } from '../gateway/serve.ts';
import { type Command, Commands } from './support/commands.ts';
import { callApi, openGateway } from './support/gateway.ts';
import { Namespaces, real } from './support/machine.ts';
import { Pair } from './support/pair.ts';
import { Provider } from './support/people.ts';
import { Person, Road, approvalBy, diagnosed } from './support/road.ts';
import { Visit } from './support/visit.ts';

const alice = new Person('alice');
const token = randomUUID();
const namespaces = new Namespaces();
const commands = new Commands();
const provider = new Provider({ alice: [], bob: [] });

/** Bob may see what is about another path than the one that is there. */
const noted = 'omega->elsewhere';
const configText = (url: string, port: number): string => `
listen: { port: ${port} }
url: ${url}
oidc: { issuer: '${provider.issuer}', clientId: undrop, clientSecret: { env: UNDROP_T_CLIENT } }
people: [{ name: alice, oidc: alice }, { name: bob, oidc: bob }]
machines: [{ name: pipeline, tokens: [{ env: UNDROP_T_API }] }]
roles:
  - { role: approve, who: [alice] }
  - { role: approve, who: [bob], targets: ['${noted}'] }
  - { role: start, who: [pipeline] }
`;

let road: Road;
let session: Session;
let gateway: Serving;
let pair: Pair;
let diagnosis: DiagnoseResult;
let visits: { alice: Visit; bob: Visit };

const api = async <T = Record<string, unknown>>(path: string, body?: object) => callApi<T>(gateway, token, path, body);
const undrop = (...words: string[]): Command => commands.start([...words, '-i', road.file(session.inventory)]);
const signedIn = async (login: string): Promise<Visit> => {
  const visit = new Visit(gateway.address);
  await visit.signIn('/', login);
  return visit;
};

real('ip', 'sysctl')('runs as people and programs see them', () => {
  beforeAll(async () => {
    road = new Road();
    await road.open();
    pair = await Pair.make(namespaces, 'pages');
    const { port, url } = await provider.openFor();
    Object.assign(process.env, { UNDROP_T_API: token, UNDROP_T_CLIENT: provider.secret });
    const inventory = Inventory.parse({ ...pair.inventory, approval: approvalBy([alice]) });
    ({ gateway, session } = await openGateway(road, configText(url, port), inventory));
    await pair.break();
    diagnosis = await diagnosed(session, pair.target);
    visits = { alice: await signedIn('alice'), bob: await signedIn('bob') };
  }, 120_000);
  afterAll(async () => {
    await commands.end();
    await gateway?.close();
    await provider.close();
    await road.close();
    namespaces.remove();
  }, 60_000);

  test('a run whose planning failed is there with all that it found, and says why there is no plan', async () => {
    const { run } = diagnosis;
    await stopEverything(session, { by: 'dora', reason: 'a test', at: Date.now() }, () => {});
    const refused = undrop('plan', run);
    expect(await refused.ended).toBe(3);
    expect(refused.stderr).toContain('everything was stopped by dora');
    await resumeEverything(session, 'dora');
    const why = expect.stringContaining('everything was stopped by dora');

    expect(await api(`runs/${run}`)).toMatchObject({
      status: 200,
      json: { run, diagnosis: { roots: [pair.root] }, remediation: { outcome: 'failed', says: why } },
    });
    const page = await visits.alice.goes(`/runs/${run}`);
    expect([visits.alice.status, page]).toEqual([200, expect.stringMatching(/no plan to decide on: everything was stopped by dora/)]); // prettier-ignore
    expect(page).toContain('What was sent');
    const [shown, json, approved] = [undrop('show', run), undrop('show', run, '--json'), undrop('approve', run, '--yes')]; // prettier-ignore
    expect(await shown.ended).toBe(0);
    expect(shown.stdout).toMatch(/FRAG-REASM[^]*undrop plan [^]*no plan to decide on: everything was stopped by dora/);
    expect(await json.ended).toBe(0);
    expect(JSON.parse(json.stdout)).toMatchObject({ run, remediation: { outcome: 'failed', says: why } });
    expect(await approved.ended).toBe(4);
    expect(approved.stderr).toMatch(/has no plan to decide on: everything was stopped by dora/);
  }, 120_000);

  test('a run that failed is shown with its reason', async () => {
    const { json: started } = await api('runs', { target: 'alpha->nowhere', windowSeconds: 1 });
    const run = String(started['run']);
    await expect(session.engine.client.workflow.getHandle(`diagnose/${run}`).result()).rejects.toThrow();
    const says = expect.stringContaining('the inventory has no "nowhere"');
    expect(await api(`runs/${run}`)).toEqual({ status: 200, json: { run, state: 'failed', says, steps: [] } });
  }, 60_000);

  test('who may something with a run may that with the path that it has looked at, whatever was asked for', async () => {
    const begun = async (target: string): Promise<string> => {
      const run = newRun();
      await session.engine.client.workflow.execute('diagnose', {
        workflowId: `diagnose/${run}`,
        taskQueue: session.taskQueue,
        args: [{ inventory: session.inventory.name, target, requester: 'alert', windowMs: 500, propose: false, visible: false }],
        memo: { target: noted },
      }).catch(() => {}); // prettier-ignore
      return run;
    };
    const seen = async (visit: Visit, run: string): Promise<number> => {
      await visit.goes(`/runs/${run}`);
      return visit.status;
    };
    const [other, same] = [await begun(pair.target), await begun(noted)];
    expect(await seen(visits.bob, same)).toBe(200);
    expect(await seen(visits.bob, other)).toBe(404);
    expect(await seen(visits.alice, other)).toBe(200);
  }, 90_000);
});
