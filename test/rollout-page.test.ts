import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import type { Session } from '../cli/session.ts';
import { awaitRollout, startRollout } from '../client/rollouts.ts';
import { newRun } from '../client/start.ts';
import type { RolloutProgress, RolloutResult } from '../domain/rollout.ts';
import { usualRules } from '../domain/waves.ts';
import type { Serving } from '../gateway/serve.ts';
import { down, inLab, labInventory, namespaceState, up } from '../lab/lab.ts';
import { Commands } from './support/commands.ts';
import { callApi, openGateway } from './support/gateway.ts';
import { real } from './support/machine.ts';
import { Provider } from './support/people.ts';
import { Person, Road, approvalBy } from './support/road.ts';
import { Listener, slackMessage } from './support/slack.ts';
import { until } from './support/until.ts';
import { Visit } from './support/visit.ts';

jest.setTimeout(180_000);
const nodes = ['n1', 'n2', 'n3', 'n4'];
const [alice, bob] = [new Person('alice'), new Person('bob')];
const [wide, narrow, secret]: [string, string, string] = [randomUUID(), randomUUID(), randomUUID()];
const webhookSecret = `whsec_${Buffer.from(randomUUID()).toString('base64')}`;
const provider = new Provider({ alice: [], bob: [], carol: [], dora: [] });
const listener = new Listener();
const commands = new Commands();

const configText = (url: string, port: number, slackApi: string): string => `
listen: { port: ${port} }
url: ${url}
oidc: { issuer: '${provider.issuer}', clientId: undrop, clientSecret: { env: UNDROP_T_CLIENT } }
people: [{ name: alice, oidc: alice, slack: U1 }, { name: bob, oidc: bob, slack: U2 }, { name: carol, oidc: carol }, { name: dora, oidc: dora, slack: U4 }]
slack: { signingSecret: { env: UNDROP_T_SECRET }, token: { env: UNDROP_T_SECRET }, channel: C1, api: '${slackApi}' }
notify: [{ url: '${slackApi}hook', secret: { env: UNDROP_T_WEBHOOK } }]
machines: [{ name: wide, tokens: [{ env: UNDROP_T_WIDE }] }, { name: narrow, tokens: [{ env: UNDROP_T_NARROW }] }]
roles:
  - { role: approve, who: [alice, bob] }
  - { role: approve, who: [dora], targets: ['n1->*', 'n2->*'] }
  - { role: view, who: [carol] }
  - { role: start, who: [wide] }
  - { role: start, who: [narrow], targets: ['n1->*', 'n2->*'] }
`;

let road: Road;
let session: Session;
let gateway: Serving;
let old: string[] = [];
const states = (): string[] => nodes.map((node) => namespaceState(`fleet-${node}`));
function changed(): string[] {
  const now = states();
  return nodes.filter((_, at) => now[at] !== old[at]);
}

const api = async <T>(path: string, token = wide, body?: object) => callApi<T>(gateway, token, path, body);
const listed = async (name: string, token = wide): Promise<object | undefined> =>
  (await api<{ rollout: string }[]>('rollouts', token)).json.find(({ rollout }) => rollout === name);

/** A rollout that bob asked for and that waits for approval. */
async function waiting(of: readonly string[]): Promise<string> {
  const name = newRun();
  const targets = of.map((node) => `${node}->far`);
  const rules = { ...usualRules, soakSeconds: 0, wave: '2', control: false };
  const handle = await startRollout(session, name, { targets, rules, windowMs: 500, atOnce: 2, requester: bob.name });
  await awaitRollout(handle);
  return name;
}
const workflow = (name: string) => session.engine.client.workflow.getHandle(`rollout/${name}`);
const told = (type: string): object[] => listener.told(webhookSecret).filter((one) => one.type === type);

real('ip', 'ethtool')('rollouts at the gateway', () => {
  beforeAll(async () => {
    const secrets = { UNDROP_T_SECRET: secret, UNDROP_T_WEBHOOK: webhookSecret, UNDROP_T_CLIENT: provider.secret };
    Object.assign(process.env, { UNDROP_T_WIDE: wide, UNDROP_T_NARROW: narrow, ...secrets });
    road = new Road();
    await up('fleet');
    old = states();
    await inLab('fleet', nodes.map((node) => `card ${node.slice(1)} broken`).join('\n'));
    await road.open();
    const { port, url } = await provider.openFor();
    const own = { ...labInventory('fleet'), approval: approvalBy([alice, bob]) };
    ({ gateway, session } = await openGateway(road, configText(url, port, await listener.open()), own));
  });
  afterAll(async () => {
    await commands.end();
    await gateway?.close();
    await provider.close();
    await listener.close();
    await road.close();
    await down('fleet');
  }, 60_000);

  test('who may for all of its targets decides on the page, and nobody else; then it goes on to its end', async () => {
    const some = nodes.slice(0, 3);
    const targets = some.map((node) => `${node}->far`);
    const name = await waiting(some);
    const path = `/rollouts/${name}`;

    // Programs: a list, one of it, and nothing of what they may not see.
    expect(await listed(name)).toMatchObject({ targets, status: 'running', state: 'waiting for approval' });
    expect(await listed(name, narrow)).toBeUndefined();
    expect((await api(`rollouts/${name}`, narrow)).status).toBe(404);
    expect((await api(`rollouts/${name}`, 'wrong')).status).toBe(401);
    expect((await api('rollouts/20260101-0000-nobody')).status).toBe(404);
    const { json } = await api<RolloutProgress>(`rollouts/${name}`);
    expect(json).toMatchObject({ rollout: name, state: 'waiting for approval', rows: targets.map((target) => ({ target, state: 'planned' })) }); // prettier-ignore
    const digest = json.signed?.digest ?? '';

    const { paths } = (await api<{ paths: object }>('openapi.json')).json;
    expect(Object.keys(paths)).toEqual(expect.arrayContaining(['/api/v1/rollouts', '/api/v1/rollouts/{rollout}', '/api/v1/rollouts/{rollout}/decide'])); // prettier-ignore

    // Who asked for it sees it and may not decide, by whatever door.
    const [alices, bobs, carols, doras] = Array.from({ length: 4 }, () => new Visit(gateway.address)) as [Visit, Visit, Visit, Visit]; // prettier-ignore
    await alices.signIn(path, 'alice');
    expect(await bobs.signIn(path, 'bob')).toContain('bob asked for this plan and may not decide on it');
    expect(bobs.form()).toEqual({});
    const form = { ...alices.form(), decision: 'approve', reason: '' };
    expect(form).toMatchObject({ digest });
    expect((await bobs.sends(`${path}/decide`, form)).status).toBe(403);
    expect(await api(`rollouts/${name}/decide`, wide, bob.decides(`rollout/${name}`, digest))).toMatchObject({ status: 409, json: { error: expect.stringMatching(/bob asked for this plan/) } }); // prettier-ignore
    expect((await api(`rollouts/${name}/decide`, narrow, alice.decides(`rollout/${name}`, digest))).status).toBe(404);

    // Forged, old and stolen forms; who may not for all of its targets; nobody.
    for (const wrong of [{ token: 'forged' }, { token: '' }, { digest: 'a'.repeat(64) }])
      expect((await alices.sends(`${path}/decide`, { ...form, ...wrong })).status).toBe(403);
    expect((await new Visit(gateway.address).sends(`${path}/decide`, form)).status).toBe(401);
    await doras.signIn(path, 'dora');
    expect([doras.status, (await doras.sends(`${path}/decide`, form)).status]).toEqual([404, 403]);
    expect(await doras.goes('/')).not.toContain(path);
    expect(await carols.signIn(path, 'carol')).toContain('You cannot decide on this plan: you have no role');
    // What is decided before that is told by its end only: the gateway looks every two seconds.
    await until('programs are told that it waits', () => told('rollout.waiting').length > 0, 20_000);
    expect(changed()).toEqual([]);
    // Bob's own signature came to the workflow, which refused it; what the gateway refused did not get there.
    expect((await api<RolloutProgress>(`rollouts/${name}`)).json.decisions).toMatchObject([
      { principal: 'bob', refused: expect.stringMatching(/bob asked for this plan/) },
    ]);

    // What alice sees: nodes in the same state as one, and all that she has to know.
    expect(await alices.goes('/')).toMatch(new RegExp(`${name}</a></td><td>3 targets</td><td><strong class="warn">waiting for approval`)); // prettier-ignore
    const page = await alices.goes(path);
    expect(page.match(/class="change"/g)).toHaveLength(1);
    expect(page).toMatch(/at n1, n2, n3</);
    for (const [fact, text] of [
      ['wave 1', 'n1 \\(a\\), one after'],
      ['wave 2', 'n2 \\(b\\), n3 \\(c\\)'],
      ['predicts', '.*none of the marked'],
      ['touches', 'over all nodes'],
      ['owner', '\\w'],
      ['undo', 'stored on each'],
      ['needs', '1 of the approvers'],
    ])
      // prettier-ignore
      expect(page).toMatch(new RegExp(`<dt>${fact}</dt><dd>${text}`));

    expect((await alices.sends(`${path}/decide`, form)).status).toBe(303);
    await until('the canary is changed', async () => (await workflow(name).query<RolloutProgress>('progress')).rows[0]?.state === 'changing', 60_000); // prettier-ignore
    expect(await alices.goes(path)).toMatch(/wave 1, changing: 1 changing, 2 planned/);
    const result = (await workflow(name).result()) as RolloutResult;
    expect(result).toMatchObject({ outcome: 'confirmed', decisions: [{ principal: 'bob', refused: expect.any(String) }, { principal: 'alice', via: 'gateway', decision: 'approve' }] }); // prettier-ignore
    expect(changed()).toEqual(some);
    const done = await alices.goes(path);
    expect(done).toMatch(/<strong class="good">confirmed<\/strong> 3 confirmed/);
    expect(done.match(/<td class="good">confirmed<\/td>/g)).toHaveLength(3);
    expect(await alices.goes(`${path}/report`)).toMatch(new RegExp(`^# Rollout ${name}: confirmed`));
    expect(await listed(name)).toMatchObject({ status: 'completed', state: 'confirmed' });
    expect((await api<RolloutResult>(`rollouts/${name}`)).json).toMatchObject({ outcome: 'confirmed' });

    await until('programs are told how it ended', () => told('rollout.ended').length > 0, 20_000);
    expect(told('rollout.waiting')).toMatchObject([{ data: { rollout: name, targets, plan: digest, url: expect.stringContaining(path) } }]); // prettier-ignore
    expect(told('rollout.ended')).toMatchObject([{ data: { rollout: name, outcome: 'confirmed' } }]);
  });

  test('it is rejected in Slack with a reason, and listed by command with the runs', async () => {
    const name = await waiting(nodes.slice(3));
    await until('it is in the channel', () => listener.last('chat.postMessage', name) !== undefined, 20_000);
    const blocks = JSON.parse(listener.last('chat.postMessage', name)?.['blocks'] ?? '[]') as { elements?: { value: string }[] }[]; // prettier-ignore
    const submit = async (user: string, reason: string): Promise<object> => {
      const view = { callback_id: 'reject', private_metadata: blocks.at(-1)?.elements?.[0]?.value, state: { values: { reason: { text: { value: reason } } } } }; // prettier-ignore
      const message = slackMessage(secret, { type: 'view_submission', user: { id: user }, view });
      return (await (await fetch(`${gateway.address}/slack`, { method: 'POST', ...message })).json()) as object;
    };
    expect(await submit('U2', 'no')).toMatchObject({ errors: { reason: expect.stringMatching(/bob asked for/) } });
    expect(await submit('U4', 'no')).toMatchObject({ errors: { reason: expect.stringMatching(/no role/) } });
    expect(await submit('U1', 'not today')).toEqual({ response_action: 'clear' });
    expect(await workflow(name).result()).toMatchObject({ outcome: 'rejected', says: 'alice rejected it: not today' });

    const file = road.file(session.inventory);
    const listing = commands.start(['runs', '-i', file]);
    const json = commands.start(['runs', '--json', '-i', file]);
    expect(await listing.ended).toBe(0);
    expect(listing.stdout).toMatch(new RegExp(`^${name} .* rollout, n4->far +rejected$`, 'm'));
    expect(await json.ended).toBe(0);
    const known = JSON.parse(json.stdout) as { kind: string; rollout?: string }[];
    expect(known.find(({ rollout }) => rollout === name)).toMatchObject({ kind: 'rollout', state: 'rejected' });
    expect(known).toContainEqual(expect.objectContaining({ kind: 'run', run: `${name}-1`, target: 'n4->far' }));
  });
});
