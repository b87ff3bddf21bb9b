import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { WorkflowHandle } from '@temporalio/client';
import { newKey, sign, sshKey } from '../activities/signature.ts';
import type { Session } from '../cli/session.ts';
import type { UserError } from '../client/errors.ts';
import { decide } from '../client/plans.ts';
import { startRemediation } from '../client/start.ts';
import type { Decision } from '../domain/approval.ts';
import { Inventory } from '../domain/inventory.ts';
import type { DiagnoseResult, RemediateProgress, RemediateResult } from '../domain/runs.ts';
import { Commands } from './support/commands.ts';
import { Namespaces, real } from './support/machine.ts';
import { Pair } from './support/pair.ts';
import { Person, Road, diagnosed } from './support/road.ts';

const rounds = Number(process.env['UNDROP_ROUNDS'] ?? 1000);
const atOnce = 30;
/** Plans of a round that nobody decides lapse after this time. */
const expiresMinutes = 0.1;

const [alice, bob, carol, erin, mallory] = ['alice', 'bob', 'carol', 'erin', 'mallory'].map((name) => new Person(name)) as [Person, Person, Person, Person, Person]; // prettier-ignore
const gatewayKey = newKey();
const strangeKey = newKey();
const publicKey = (key: string): string => {
  const parsed = sshKey(key);
  return `${parsed.type} ${parsed.getPublicSSH().toString('base64')}`;
};
const namespaces = new Namespaces();
const commands = new Commands();

let road: Road;
let session: Session;
let pair: Pair;
let diagnosis: DiagnoseResult;

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
  { what: 'a bot', decision: through(gatewayKey, 'bot'), never: /bot is not among the approvers/ },
  { what: 'a stranger', decision: (id, digest) => mallory.decides(id, digest), never: /mallory is not among the approvers/ },
  { what: 'a forged page', decision: through(strangeKey, 'alice'), never: /not signed by the key of the gateway door/ },
  { what: 'a gateway that nobody trusts', decision: through(gatewayKey, 'alice', { via: 'window' }), never: /not signed by the key of the gateway window/ },
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

const outcomes: string[] = [];

async function round(index: number): Promise<void> {
  const chosen = Array.from({ length: 2 + random(5) }, () => attempts[random(attempts.length)] as Attempt);
  const late = random(10) === 0;
  // Where nobody decides the plan is still open, and one person can close it; some are left to lapse.
  const closes = !late && random(8) > 0;
  const handle = await startRemediation(session, { ...diagnosis, run: `${diagnosis.run}-${index}` }, carol.name);
  const digest = await planOf(handle);
  if (late) await handle.result();
  const why = async (decision: Decision): Promise<string | undefined> =>
    decide(handle, decision).then(() => undefined, (error: UserError) => error.message); // prettier-ignore
  const said = await Promise.all(chosen.map(async ({ decision }) => why(decision(handle.workflowId, digest))));
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
  // The trail names everybody who was refused in the workflow itself, and why.
  for (const { refused, principal } of result.decisions)
    if (refused !== undefined) expect(`${principal}: ${refused}`).toMatch(/\w: \w/);
}

real('ip', 'sysctl')('decisions that come at once', () => {
  beforeAll(async () => {
    road = new Road();
    await road.open();
    pair = await Pair.make(namespaces, 'races');
    const approvers = [...[alice, bob, carol, erin].map(({ approver }) => approver), { name: 'dora' }];
    const gateways = [{ name: 'door', key: publicKey(gatewayKey) }];
    const inventory = Inventory.parse({
      ...pair.inventory,
      approval: { approvers, quorum: 2, gateways, expiresMinutes },
    });
    session = await road.session(inventory, false);
    // As in production a process of its own, so that starting programs on the nodes does not hold up the people here.
    await commands.start(['worker', '-i', road.file(inventory)]).says('working on');
    await pair.break();
    diagnosis = await diagnosed(session, pair.target, carol.name);
    expect(diagnosis).toMatchObject({ roots: [pair.root] });
  }, 60_000);
  afterAll(async () => {
    await commands.end();
    await road.close();
    namespaces.remove();
  }, 60_000);

  test(`${rounds} random rounds end right, with a trail that says why, and the node stays as it was`, async () => {
    const stop = pair.drifting();
    const left = Array.from({ length: rounds }, (_, index) => index);
    const work = async (): Promise<void> => {
      for (let next = left.shift(); next !== undefined; next = left.shift()) await round(next);
    };
    // The first failure ends it, once the rounds in progress are over.
    const ended = await Promise.allSettled(
      Array.from({ length: atOnce }, async () => work().finally(() => left.splice(0))),
    );
    stop();
    for (const one of ended) if (one.status === 'rejected') throw one.reason;
    // Each way to end was met often.
    for (const outcome of ['rejected', 'refused', 'expired', 'late'])
      expect({ outcome, enough: outcomes.filter((one) => one === outcome).length > rounds / 50 }).toEqual({ outcome, enough: true }); // prettier-ignore
    // The remedy would make it four million.
    expect(pair.threshold()).toBeLessThan(100_000);
  }, 600_000);
});
