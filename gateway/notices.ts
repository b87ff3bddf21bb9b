import { setTimeout as sleep } from 'node:timers/promises';
import type { Need } from '../domain/approval.ts';
import type { SignedPlan } from '../domain/plan.ts';
import type { SignedRollout } from '../domain/rollout.ts';
import type { Gateway } from './gateway.ts';
import { forget, keep, rememberHours, toldWaiting, waitingNotice, waitsSeconds } from './notice-table.ts';
import { endOf, endedSince, running, waiting } from './noticed.ts';

/** What is told to people and programs of a plan or a rollout. */
export interface Notice {
  event: `${'plan' | 'rollout'}.${'waiting' | 'ended'}`;
  /** Name of the run or rollout. */
  run: string;
  /** Which execution of its workflow: a run may be planned more than once. */
  execution: string;
  target: string;
  url: string;
  signed: SignedPlan | SignedRollout;
  /** What people must give, where that is not by the inventory's rules for its risk. */
  needs?: readonly Need[];
  outcome?: string;
  says?: string;
  /** Who approved or rejected, a policy's standing approval among them; of one that has ended. */
  decisions?: readonly string[];
}

/** A door that notices go out by. */
export interface Teller {
  /** Its name, part of the notice's id: each door is told once. */
  name: string;
  /** @param earlier what this door said of the same plan or rollout before; @returns what it needs to know later */
  tell(notice: Notice, earlier: unknown): Promise<unknown>;
}

const everyMs = 2_000;
const tidyMs = 3_600_000;
/** The server's list may show an end late, and its clock may be behind the database's. */
const lateSeconds = 120;
/** Who has claimed a notice has sent it within this time, or is dead: no door takes longer than 15 s. */
const claimSeconds = 30;

/** Looks for plans and rollouts that wait or have ended, and tells each door once, until the signal. */
export async function notices(gateway: Gateway, tellers: readonly Teller[], signal: AbortSignal): Promise<void> {
  if (tellers.length === 0) return;
  const { log } = gateway;
  const doors = tellers.map(({ name }) => name);
  let ends: Ends = { done: new Set(), whole: false };
  for (let tidied = 0; !signal.aborted;) {
    try {
      const open = await lookForWaiting(gateway, doors);
      ends = await lookForEnds(gateway, doors, ends.done);
      if (ends.whole && Date.now() - tidied > tidyMs) {
        await forget(gateway.database, open);
        tidied = Date.now();
      }
    } catch (error) {
      log.warn(`plans cannot be looked for: ${messageOf(error)}`);
    }
    await Promise.all(tellers.map(async (teller) => send(gateway, teller, signal))).catch((error: unknown) => {
      log.warn(`notices cannot be sent: ${messageOf(error)}`);
    });
    await sleep(everyMs, undefined, { signal }).catch(() => {});
  }
}

/** @returns executions that go on */
async function lookForWaiting(gateway: Gateway, doors: readonly string[]): Promise<string[]> {
  const all = await running(gateway);
  const ids = all.map(({ runId }) => runId);
  const told = await toldWaiting(gateway.database, doors, ids);
  const open = all.filter(({ runId }) => !told.has(runId));
  for (const notice of await waiting(gateway, open)) await keep(gateway.database, doors, notice);
  return ids;
}

/** What a look for ends has dealt with, and whether that is all of them. */
interface Ends {
  done: ReadonlySet<string>;
  whole: boolean;
}

/**
 * Ends of all that had a plan, also of one that waited for nobody, or not for long enough to be seen waiting.
 * @param before executions that the last look has dealt with
 */
async function lookForEnds(gateway: Gateway, doors: readonly string[], before: ReadonlySet<string>): Promise<Ends> {
  const { database, log } = gateway;
  // What ended before the first look on an empty database is told to nobody.
  await database.query(
    `insert into undrop_look (id, since) values ('ends', now()) on conflict (id) do nothing`,
  );
  const [look] = await database.query<{ since: number; now: number }>(
    `select ${epochMs('greatest(since, now() - make_interval(hours => $1))')} as since, ${epochMs('now()')} as now
     from undrop_look where id = 'ends'`,
    [rememberHours],
  );
  if (!look) throw new Error('there is no last look');
  const done = new Set<string>();
  let failures = 0;
  for (const one of await endedSince(gateway, look.since)) {
    if (before.has(one.runId)) done.add(one.runId);
    else
      try {
        const notice = await endOf(gateway, one, await waitingNotice(database, one.runId));
        if (notice) await keep(database, doors, notice);
        done.add(one.runId);
      } catch (error) {
        failures++;
        log.warn(`how ${one.workflowId} ended is not known yet: ${messageOf(error)}`);
      }
  }
  if (failures === 0)
    await database.query(`update undrop_look set since = greatest(since, to_timestamp($1::float8 / 1000)) where id = 'ends'`, [
      look.now - lateSeconds * 1000,
    ]);
  return { done, whole: failures === 0 };
} // prettier-ignore

const epochMs = (sql: string): string => `(extract(epoch from ${sql}) * 1000)::float8`;

/** Sends what is due by one door, one after another; of several gateways one sends each. */
async function send({ database, log }: Gateway, teller: Teller, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    // An end waits until it was told that there is something to end: buttons that come after it would stay.
    const [due] = await database.query<{ id: string; body: Notice; attempts: number }>(
      `update undrop_notice set claimed = now() where id = (
         select id from undrop_notice one where starts_with(id, $1) and sent is null and due <= now() and attempts < $2
         and (claimed is null or claimed < now() - make_interval(secs => $3))
         and not exists (select 1 from undrop_notice other where other.id = replace(one.id, '.ended ', '.waiting ')
           and other.id <> one.id and other.sent is null and other.attempts < $2)
         order by due limit 1 for update of one skip locked
       ) returning id, body, attempts`,
      [`${teller.name} `, waitsSeconds.length, claimSeconds],
    );
    if (!due) return;
    const { id, body, attempts } = due;
    try {
      const [earlier] = await database.query<{ ref: unknown }>('select ref from undrop_notice where id = $1', [
        id.replace('.ended ', '.waiting '),
      ]);
      const ref = await teller.tell(body, earlier?.ref);
      await database.query('update undrop_notice set sent = now(), ref = $2 where id = $1', [
        id,
        JSON.stringify(ref ?? null),
      ]);
    } catch (error) {
      const wait = waitsSeconds[attempts] ?? 0;
      await database.query(
        `update undrop_notice set attempts = attempts + 1, claimed = null, due = now() + make_interval(secs => $2)
         where id = $1`,
        [id, wait],
      );
      log.warn(`${teller.name} was not told of ${body.run}, again in ${wait} s: ${messageOf(error)}`);
    }
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
