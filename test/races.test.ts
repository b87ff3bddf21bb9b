import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { newKey, sign, sshKey } from '../activities/signature.ts';
import type { Session } from '../cli/session.ts';
import { startRemediation } from '../client/start.ts';
import type { Decision, RecordedDecision } from '../domain/approval.ts';
import { Inventory } from '../domain/inventory.ts';
import type { DiagnoseResult, RemediateProgress, RemediateResult } from '../domain/runs.ts';
import { Namespaces, real } from './support/machine.ts';
import { Pair } from './support/pair.ts';
import { Person, Road, diagnosed } from './support/road.ts';
import { until } from './support/until.ts';

/** A thousand take some minutes: `UNDROP_ROUNDS=1000 npm test -- test/races.test.ts`. */
const rounds = Number(process.env['UNDROP_ROUNDS'] ?? 200);
const atOnce = 25;
/** Plans of a round that nobody decides lapse after this time. */
const expiresMinutes = 0.1;

const [alice, bob, carol, mallory] = ['alice', 'bob', 'carol', 'mallory'].map((name) => new Person(name)) as [Person, Person, Person, Person]; // prettier-ignore
const gatewayKey = newKey();
const strangeKey = newKey();
const publicKey = (key: string): string => {
  const parsed = sshKey(key);
  return `${parsed.type} ${parsed.getPublicSSH().toString('base64')}`;
};
const namespaces = new Namespaces();

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

async function round(index: number): Promise<void> {
  const chosen = Array.from({ length: 2 + random(5) }, () => attempts[random(attempts.length)] as Attempt);
  const late = random(10) === 0;
  const handle = await startRemediation(session, { ...diagnosis, run: `${diagnosis.run}-${index}` }, carol.name);
  const ready = async () => {
    const { phase, signed } = await handle.query<RemediateProgress>('progress');
    return phase === 'waiting for approval' ? signed : undefined;
  };
  const { digest } = await until('there is a plan', ready, 30_000);
  if (late) await handle.result();
  const said = await Promise.all(
    chosen.map(async ({ decision }) =>
      handle.executeUpdate<RecordedDecision, [Decision]>('decide', { args: [decision(handle.workflowId, digest)] }).then(
        () => undefined,
        (error: Error) => `${error.message} ${(error.cause as Error | undefined)?.message ?? ''}`,
      ),
    ),
  ); // prettier-ignore
  const told = chosen.map(({ what }, at) => `${what}: ${said[at] ?? 'counted'}`);
  chosen.forEach(({ never }, at) => {
    const why = said[at];
    if (never) expect({ told, why }).toEqual({ told, why: expect.stringMatching(new RegExp(`${never.source}|${others.source}|completed`)) });
    else if (why !== undefined) expect({ told, why }).toEqual({ told, why: expect.stringMatching(new RegExp(`${others.source}|completed`)) });
  }); // prettier-ignore

  const result = (await handle.result()) as RemediateResult;
  const counted = result.decisions.filter(({ refused }) => refused === undefined);
  const people = counted.map(({ principal }) => principal);
  expect({ told, people: new Set(people).size }).toEqual({ told, people: people.length });
  expect(people.every((name) => ['alice', 'bob', 'dora'].includes(name))).toBe(true);
  const rejected = counted.some(({ decision }) => decision === 'reject');
  const approved = !rejected && counted.length >= 2;
  // What is approved meets a node that somebody has changed since: the change refuses, and touches nothing.
  const outcome = rejected ? 'rejected' : approved ? 'refused' : 'expired';
  expect({ told, outcome: result.outcome }).toEqual({ told, outcome });
  if (rejected) expect(result.says).toContain('alice rejected it: no');
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
    const approvers = [...[alice, bob, carol].map(({ approver }) => approver), { name: 'dora' }];
    const gateways = [{ name: 'door', key: publicKey(gatewayKey) }];
    const inventory = Inventory.parse({
      ...pair.inventory,
      approval: { approvers, quorum: 2, gateways, expiresMinutes },
    });
    session = await road.session(inventory);
    await pair.break();
    diagnosis = await diagnosed(session, pair.target, carol.name);
    expect(diagnosis).toMatchObject({ roots: [pair.root] });
  }, 60_000);
  afterAll(async () => {
    await road.close();
    namespaces.remove();
  }, 60_000);

  test(`${rounds} random rounds end right, with a trail that says why, and the node stays as it was`, async () => {
    const drifting = setInterval(() => pair.drift(), 200);
    const left = Array.from({ length: rounds }, (_, index) => index);
    const work = async (): Promise<void> => {
      for (let next = left.shift(); next !== undefined; next = left.shift()) await round(next);
    };
    // The first failure ends it, once the rounds in progress are over.
    const ended = await Promise.allSettled(
      Array.from({ length: atOnce }, async () => work().finally(() => left.splice(0))),
    );
    clearInterval(drifting);
    for (const one of ended) if (one.status === 'rejected') throw one.reason;
    // The remedy would make it four million.
    expect(pair.threshold()).toBeLessThan(100_000);
  }, 600_000);
});
