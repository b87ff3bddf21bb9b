import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { WorkflowHandle } from '@temporalio/client';
import { randomUUID } from 'node:crypto';
import { newKey, publicLine, sign, sshKey } from '../activities/signature.ts';
import type { Session } from '../cli/session.ts';
import type { UserError } from '../client/errors.ts';
import { decide } from '../client/plans.ts';
import { startRemediation } from '../client/start.ts';
import type { Decision } from '../domain/approval.ts';
import { Inventory } from '../domain/inventory.ts';
import type { DiagnoseResult, RemediateProgress, RemediateResult } from '../domain/runs.ts';
import type { Serving } from '../gateway/serve.ts';
import { Commands } from './support/commands.ts';
import { type Answer, Doors } from './support/doors.ts';
import { openGateway } from './support/gateway.ts';
import { Namespaces, real } from './support/machine.ts';
import { Pair } from './support/pair.ts';
import { Provider } from './support/people.ts';
import { Person, Road, diagnosed } from './support/road.ts';
import { Listener } from './support/slack.ts';
import type { Visit } from './support/visit.ts';

const rounds = Number(process.env['UNDROP_ROUNDS'] ?? 1000);
const atOnce = 30;
/** So many of the rounds at once go by the gateway's doors, each beside a run of its own; of all rounds a tenth. */
const lanes = 3;
/** Plans of a round that nobody decides lapse after this time. */
const expiresMinutes = 0.1;

const [alice, bob, carol, erin, mallory] = ['alice', 'bob', 'carol', 'erin', 'mallory'].map((name) => new Person(name)) as [Person, Person, Person, Person, Person]; // prettier-ignore
const gatewayKey = newKey();
const strangeKey = newKey();
const namespaces = new Namespaces();
const commands = new Commands();

let road: Road;
let session: Session;
let gateway: Serving;
let pair: Pair;
let diagnosis: DiagnoseResult;
let doors: Doors;
const ways: Way[] = [];
const secrets = { UNDROP_T_SLACK: randomUUID(), UNDROP_T_API: randomUUID() };
const provider = new Provider({ bob: [] });
const listener = new Listener();

/** A run whose plans are decided on over HTTP, and bob at its page. */
interface Way {
  diagnosis: DiagnoseResult;
  visit: Visit;
}

const configText = (url: string, port: number, slackApi: string): string => `
listen: { port: ${port} }
url: ${url}
oidc: { issuer: '${provider.issuer}', clientId: undrop, clientSecret: { env: UNDROP_T_CLIENT } }
slack: { signingSecret: { env: UNDROP_T_SLACK }, token: { env: UNDROP_T_SLACK }, channel: C1, api: '${slackApi}' }
people:
${['bob', 'carol', 'dora', 'bot', 'mallory'].map((name) => `  - { name: ${name}, slack: slack-${name}${name === 'bob' ? ', oidc: bob' : ''} }`).join('\n')}
machines: [{ name: pipeline, tokens: [{ env: UNDROP_T_API }] }]
roles: [{ role: approve, who: [bob, carol, dora, bot, mallory] }, { role: start, who: [pipeline] }]
`; // prettier-ignore

/** The same rounds each time: a failure can be looked at again. */
let seed = 20261125;
function random(below: number): number {
  seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fff_ffff;
  return seed % below;
}

/** One attempt to decide, and why it must not count, whatever else happens; undefined where it may. */
interface Attempt {
  what: string;
  decision: (id: string, digest: string) => Decision;
  never?: RegExp;
  /** No gateway would hand it in: it is sent to the workflow itself. */
  direct?: true;
}

const through = (key: string, principal: string, more: Partial<Decision> = {}) => (id: string, digest: string): Decision =>
  sign(id, { digest, decision: 'approve', principal, reason: '', via: 'door', ...more }, sshKey(key)); // prettier-ignore
const attempts: Attempt[] = [
  { what: 'alice approves', decision: (id, digest) => alice.decides(id, digest) },
  { what: 'bob approves', decision: (id, digest) => bob.decides(id, digest) },
  { what: 'bob approves on the page', decision: through(gatewayKey, 'bob') },
  { what: 'dora approves on the page', decision: through(gatewayKey, 'dora') },
  { what: 'alice rejects', decision: (id, digest) => alice.decides(id, digest, { decision: 'reject', reason: 'no' }) },
  { what: 'a rejection without a reason', decision: (id, digest) => bob.decides(id, digest, { decision: 'reject' }), never: /needs a reason/ },
  { what: 'the requester', decision: (id, digest) => carol.decides(id, digest), never: /carol asked for this plan/ },
  { what: 'the requester on the page', decision: through(gatewayKey, 'carol'), never: /carol asked for this plan/ },
  { what: 'a rejection without a reason on the page', decision: through(gatewayKey, 'bob', { decision: 'reject' }), never: /needs a reason/ },
  { what: 'an old plan on the page', decision: (id) => through(gatewayKey, 'dora')(id, 'e'.repeat(64)), never: /look at it again/ },
  { what: 'a bot', decision: through(gatewayKey, 'bot'), never: /bot is not among the approvers/ },
  { what: 'a stranger', decision: (id, digest) => mallory.decides(id, digest), never: /mallory is not among the approvers/ },
  { what: 'a forged page', decision: through(strangeKey, 'alice'), never: /not signed by the key of the gateway door/, direct: true },
  { what: 'a gateway that nobody trusts', decision: through(gatewayKey, 'alice', { via: 'window' }), never: /not signed by the key of the gateway window/, direct: true },
  { what: 'a forged name', decision: (id, digest) => mallory.decides(id, digest, { principal: 'bob' }), never: /not signed by bob's key/ },
  { what: 'an old plan', decision: (id) => alice.decides(id, 'e'.repeat(64)), never: /look at it again/ },
  { what: 'a signature of another run', decision: (_, digest) => bob.decides('remediate/other', digest), never: /not signed by bob's key/ },
  { what: 'a decision that was changed on its way', decision: (id, digest) => ({ ...alice.decides(id, digest, { decision: 'reject', reason: 'no' }), decision: 'approve' }), never: /not signed by alice's key/ },
]; // prettier-ignore
/** A refusal that any attempt may get, because of others. */
const others = /already (approved|rejected|decided)|has expired/;

/** Waits for a round's plan; the server says when something has happened. @returns its digest */
async function planOf(handle: WorkflowHandle): Promise<string> {
  const { workflowService, options } = session.engine.client.workflow;
  const execution = { workflowId: handle.workflowId };
  for (let nextPageToken: Uint8Array = new Uint8Array(); ;) {
    const told = await workflowService.getWorkflowExecutionHistory({ namespace: options.namespace, execution, waitNewEvent: true, nextPageToken }); // prettier-ignore
    nextPageToken = told.nextPageToken;
    const planning = !told.history?.events?.some(({ activityTaskCompletedEventAttributes: done }) => done);
    if (planning && nextPageToken.length > 0) continue;
    const { phase, signed } = await handle.query<RemediateProgress>('progress');
    if (phase === 'waiting for approval' && signed) return signed.digest;
    if (nextPageToken.length === 0) throw new Error(`there is no plan, it is ${phase}`);
  }
}

/** Sends a decision to the workflow itself, as `undrop approve` does. */
const straight = (handle: WorkflowHandle) => async (decision: Decision): Promise<Answer> =>
  decide(handle, decision).then(() => undefined, (error: UserError) => error.message); // prettier-ignore

/** By the gateway: people's own signatures by the API, bob by the form of his page, whomever else it speaks for by Slack. */
async function overHttp({ diagnosis: { run }, visit }: Way): Promise<(decision: Decision) => Promise<Answer>> {
  await visit.goes(`/runs/${run}`);
  const form = visit.form();
  const once = async (decision: Decision): Promise<Answer> => {
    if (decision.via === undefined) return doors.api(run, decision);
    return decision.principal === bob.name ? doors.page(visit, run, form, decision) : doors.slack(run, decision);
  };
  // Where the worker does not answer in time nothing was decided, and a person who is told so tries again.
  return async (decision) => {
    for (let times = 1; ; times++) {
      const why = await once(decision);
      if (times === 10 || !why?.includes('so nothing was decided: try again')) return why;
    }
  };
}

/** A refusal as the trail has it: who, whether by a gateway, and why. */
const refusal = ({ principal, via }: Pick<Decision, 'principal' | 'via'>, why: string): string =>
  `${principal}${via === undefined ? '' : ' by a gateway'}: ${why}`;
const trail = ({ decisions }: Pick<RemediateResult, 'decisions'>): string[] =>
  decisions.flatMap((one) => (one.refused === undefined ? [] : [refusal(one, one.refused)]));

const outcomes: string[] = [];

async function round(index: number, way?: Way): Promise<void> {
  const possible = attempts.filter(({ direct }) => !(way && direct));
  const chosen = Array.from({ length: 2 + random(5) }, () => possible[random(possible.length)] as Attempt);
  const late = random(10) === 0;
  // Where nobody decides the plan is still open, and one person can close it; some are left to lapse.
  const closes = !late && random(8) > 0;
  const about = way?.diagnosis ?? { ...diagnosis, run: `${diagnosis.run}-${index}` };
  const handle = await startRemediation(session, about, carol.name);
  const digest = await planOf(handle);
  const why = way ? await overHttp(way) : straight(handle);
  if (late) await handle.result();
  const decisions = chosen.map(({ decision }) => decision(handle.workflowId, digest));
  const said = await Promise.all(decisions.map(why));
  const told = chosen.map(({ what }, at) => `${what}: ${said[at] ?? 'counted'}`);
  chosen.forEach(({ never }, at) => {
    const refused = said[at];
    if (never) expect({ told, refused }).toEqual({ told, refused: expect.stringMatching(new RegExp(`${never.source}|${others.source}|completed`)) });
    else if (refused !== undefined) expect({ told, refused }).toEqual({ told, refused: expect.stringMatching(new RegExp(`${others.source}|completed`)) });
  }); // prettier-ignore
  const over = erin.decides(handle.workflowId, digest, { decision: 'reject', reason: 'over' });
  const closing = closes ? await why(over) : 'has expired';
  if (closing !== undefined) expect({ told, closing }).toEqual({ told, closing: expect.stringMatching(new RegExp(`${others.source}|completed`)) }); // prettier-ignore
  const closed = closing === undefined;

  const result = (await handle.result()) as RemediateResult;
  outcomes.push(late ? 'late' : result.outcome);
  const counted = result.decisions.filter(({ refused }) => refused === undefined);
  const people = counted.map(({ principal }) => principal);
  expect({ told, people: new Set(people).size }).toEqual({ told, people: people.length });
  expect(people.every((name) => ['alice', 'bob', 'dora', 'erin'].includes(name))).toBe(true);
  const rejected = counted.some(({ decision }) => decision === 'reject');
  const approved = !rejected && counted.length >= 2;
  // What is approved meets a node that somebody has changed since: the change refuses, and touches nothing.
  const outcome = rejected ? 'rejected' : approved ? 'refused' : 'expired';
  expect({ told, outcome: result.outcome }).toEqual({ told, outcome });
  expect({ told, closed: people.includes('erin') }).toEqual({ told, closed });
  if (closed) expect(people.length).toBeLessThan(3);
  if (rejected) expect(result.says).toContain(closed ? 'erin rejected it: over' : 'alice rejected it: no');
  if (approved) expect(result.says).toMatch(/drift|another change is in progress|the approval has expired/);
  if (late) expect(counted).toEqual([]);
  // The trail names everybody who was refused while there was a plan, and why, in the words that they were told.
  const refused = decisions.flatMap((one, at) => {
    const text = said[at];
    return text === undefined || text.includes('completed') ? [] : [refusal(one, text)];
  });
  expect({ told, trail: trail(result) }).toEqual({ told, trail: expect.arrayContaining(refused) });
}

real('ip', 'sysctl')('decisions that come at once', () => {
  beforeAll(async () => {
    road = new Road();
    await road.open();
    pair = await Pair.make(namespaces, 'races');
    const approvers = [...[alice, bob, carol, erin].map(({ approver }) => approver), { name: 'dora' }];
    const gateways = [{ name: 'door', key: publicLine(sshKey(gatewayKey)) }];
    const inventory = Inventory.parse({
      ...pair.inventory,
      approval: { approvers, quorum: 2, gateways, expiresMinutes },
    });
    const { port, url } = await provider.openFor();
    Object.assign(process.env, secrets, { UNDROP_T_CLIENT: provider.secret });
    ({ gateway, session } = await openGateway(road, configText(url, port, await listener.open()), inventory, {
      work: false,
    }));
    doors = new Doors(gateway, secrets.UNDROP_T_SLACK, secrets.UNDROP_T_API);
    // As in production a process of its own, so that starting programs on the nodes does not hold up the people here.
    await commands.start(['worker', '-i', road.file(session.inventory)]).says('working on');
    await pair.break();
    diagnosis = await diagnosed(session, pair.target, carol.name);
    expect(diagnosis).toMatchObject({ roots: [pair.root] });
    for (let lane = 0; lane < lanes; lane++) {
      const own = await diagnosed(session, pair.target, carol.name);
      ways.push({ diagnosis: own, visit: await doors.visit(`/runs/${own.run}`, bob.name) });
    }
  }, 120_000);
  afterAll(async () => {
    await commands.end();
    await gateway?.close();
    await provider.close();
    await listener.close();
    await road.close();
    namespaces.remove();
  }, 60_000);

  test('whatever is refused is in the trail with its reason, by whichever door it came', async () => {
    const [way] = ways;
    if (!way) throw new Error('there is no run');
    const handle = await startRemediation(session, way.diagnosis, carol.name);
    const digest = await planOf(handle);
    const http = await overHttp(way);
    const wrong = attempts.filter(({ never }) => never !== undefined);
    const expected: string[] = [];
    for (const hand of [straight(handle), http])
      for (const { what, decision, never = /./, direct } of wrong) {
        if (hand === http && direct) continue;
        const one = decision(handle.workflowId, digest);
        const why = await hand(one);
        expect({ what, why }).toEqual({ what, why: expect.stringMatching(never) });
        expected.push(refusal(one, why ?? ''));
      }
    const malformed = { ...alice.decides(handle.workflowId, digest), decision: 'maybe' } as unknown as Decision;
    expect(await straight(handle)(malformed)).toBe('that is no decision');
    expect(trail(await handle.query<RemediateProgress>('progress'))).toEqual(expected);
    // A flood is refused as before. It leaves twenty refusals of one person, so that others have room, and a hundred in all.
    const flooded = async (who: Person): Promise<string[]> => {
      for (let times = 0; times < 25; times++)
        expect(await straight(handle)(who.decides(handle.workflowId, digest))).toContain(`${who.name} is not among`);
      return trail(await handle.query<RemediateProgress>('progress'));
    };
    const left = await flooded(mallory);
    expect(left.filter((line) => line.startsWith(mallory.name))).toHaveLength(20);
    for (let other = 0; other < 5; other++)
      left.splice(0, left.length, ...(await flooded(new Person(`other-${other}`))));
    expect(left).toHaveLength(100);
    expect(left.filter((line) => line.startsWith('other-0'))).toHaveLength(20);
    const { events } = await handle.fetchHistory();
    expect(events?.filter(({ workflowExecutionUpdateAcceptedEventAttributes: one }) => one)).toHaveLength(100);
    expect(await http(erin.decides(handle.workflowId, digest, { decision: 'reject', reason: 'over' }))).toBeUndefined();
    expect(await handle.result()).toMatchObject({ outcome: 'rejected', says: 'erin rejected it: over' });
  }, 60_000);

  test(`${rounds} random rounds end right, with a trail that says why, and the node stays as it was`, async () => {
    const stop = pair.drifting();
    const all = Array.from({ length: rounds }, (_, index) => index);
    const left = { straight: all, http: all.splice(0, Math.ceil(rounds / 10)) };
    const work = async (mine: number[], way?: Way): Promise<void> => {
      for (let next = mine.shift(); next !== undefined; next = mine.shift()) await round(next, way);
    };
    // The first failure ends it, once the rounds in progress are over.
    const over = (error: unknown): never => {
      for (const mine of Object.values(left)) mine.splice(0);
      throw error;
    };
    const ended = await Promise.allSettled([
      ...Array.from({ length: atOnce - lanes }, async () => work(left.straight).catch(over)),
      ...ways.map(async (way) => work(left.http, way).catch(over)),
    ]);
    stop();
    for (const one of ended) if (one.status === 'rejected') throw one.reason;
    // Each way to end was met often.
    for (const outcome of ['rejected', 'refused', 'expired', 'late'])
      expect({ outcome, enough: outcomes.filter((one) => one === outcome).length > rounds / 50 }).toEqual({ outcome, enough: true }); // prettier-ignore
    // The remedy would make it four million.
    expect(pair.threshold()).toBeLessThan(100_000);
  }, 600_000);
});
