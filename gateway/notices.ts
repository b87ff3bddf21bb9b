import { setTimeout as sleep } from 'node:timers/promises';
import type { Need } from '../domain/approval.ts';
import type { SignedPlan } from '../domain/plan.ts';
import type { SignedRollout } from '../domain/rollout.ts';
import type { Gateway } from './gateway.ts';
import { endOf, waiting } from './noticed.ts';

/** What is told to people and programs of a plan or a rollout. */
export interface Notice {
  event: `${'plan' | 'rollout'}.${'waiting' | 'ended'}`;
  /** Name of the run or rollout. */
  run: string;
  target: string;
  url: string;
  signed: SignedPlan | SignedRollout;
  /** What people must give, where that is not by the inventory's rules for its risk. */
  needs?: readonly Need[];
  outcome?: string;
  says?: string;
}

/** A door that notices go out by. */
export interface Teller {
  /** Its name, part of the notice's id: each door is told once. */
  name: string;
  /** @param earlier what this door said of the same plan or rollout before; @returns what it needs to know later */
  tell(notice: Notice, earlier: unknown): Promise<unknown>;
}

const everyMs = 2_000;
/** A plan's end is told for this long after its start; afterwards nobody waits for it. */
const rememberHours = 72;
/** Waits between attempts, as Standard Webhooks suggest: over days, and then no more. */
const waitsSeconds = [5, 60, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400];

/** Looks for plans and rollouts that wait or have ended, and tells each door once, until the signal. */
export async function notices(gateway: Gateway, tellers: readonly Teller[], signal: AbortSignal): Promise<void> {
  if (tellers.length === 0) return;
  while (!signal.aborted) {
    await look(gateway, tellers).catch((error: unknown) => {
      gateway.log.warn(`plans cannot be looked for: ${error instanceof Error ? error.message : String(error)}`);
    });
    await send(gateway, tellers).catch((error: unknown) => {
      gateway.log.warn(`notices cannot be sent: ${error instanceof Error ? error.message : String(error)}`);
    });
    await sleep(everyMs, undefined, { signal }).catch(() => {});
  }
}

async function look(gateway: Gateway, tellers: readonly Teller[]): Promise<void> {
  const { database } = gateway;
  const known = await database.query<{ run: string }>(
    `select body->>'run' as run from undrop_notice join unnest($1::text[]) as door on starts_with(id, door || ' ')
     where event = 'rollout.waiting' group by 1 having count(*) >= $2`,
    [tellers.map(({ name }) => name), tellers.length],
  );
  for await (const notice of waiting(gateway, new Set(known.map(({ run }) => run)))) await write(notice);
  const told = await database.query<{ body: Notice }>(
    `select distinct on (body->>'run') body from undrop_notice one where event like '%.waiting' and sent > now() - make_interval(hours => $1)
     and not exists (select 1 from undrop_notice other where other.event like '%.ended' and other.body->>'run' = one.body->>'run')`,
    [rememberHours],
  );
  for (const { body } of told) {
    const end = await endOf(gateway, body);
    const event = body.event === 'rollout.waiting' ? 'rollout.ended' : 'plan.ended';
    if (end) await write({ ...body, event, outcome: end.outcome, says: end.says });
  }

  async function write(notice: Notice): Promise<void> {
    for (const { name } of tellers)
      await database.query(
        'insert into undrop_notice (id, event, body) values ($1, $2, $3) on conflict (id) do nothing',
        [`${name} ${notice.event} ${notice.run} ${notice.signed.digest}`, notice.event, JSON.stringify(notice)],
      );
  }
}

async function send(gateway: Gateway, tellers: readonly Teller[]): Promise<void> {
  const { database } = gateway;
  const due = await database.query<{ id: string; body: Notice; attempts: number }>(
    'select id, body, attempts from undrop_notice where sent is null and due <= now() and attempts < $1 order by due limit 20',
    [waitsSeconds.length],
  );
  for (const { id, body, attempts } of due) {
    const teller = tellers.find(({ name }) => id.startsWith(`${name} `));
    if (!teller) continue;
    try {
      const [earlier] = await database.query<{ ref: unknown }>('select ref from undrop_notice where id = $1', [
        `${teller.name} ${body.event.replace('ended', 'waiting')} ${body.run} ${body.signed.digest}`,
      ]);
      const ref = await teller.tell(body, earlier?.ref);
      await database.query('update undrop_notice set sent = now(), ref = $2 where id = $1', [
        id,
        JSON.stringify(ref ?? null),
      ]);
    } catch (error) {
      const wait = waitsSeconds[attempts] ?? 0;
      await database.query(
        'update undrop_notice set attempts = attempts + 1, due = now() + make_interval(secs => $2) where id = $1',
        [id, wait],
      );
      gateway.log.warn(
        `${teller.name} was not told of ${body.run}, again in ${wait} s: ${error instanceof Error ? error.message : String(error)}`,
      );
    }
  }
}
