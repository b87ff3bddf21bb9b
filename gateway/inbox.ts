import { setTimeout as sleep } from 'node:timers/promises';
import type { Origin, Report } from '../domain/incident.ts';
import { Batches } from './batches.ts';
import type { Database } from './database.ts';

/** What one delivery says of each target. */
export type Letters = { target: string; reports: Report[] }[];

/** `rememberMs`: one that was carried out is remembered for so long; a copy of it has no effect. */
export interface Delivery extends Omit<Origin, 'received'> {
  source: string;
  letters: Letters;
}

/** One that is stored. */
export type Stored = Delivery & Origin;

/** Longer than anything is remembered. */
const keepHours = 48;
/** Who has claimed a delivery carries it out within this time, or is dead. */
const claimSeconds = 5;

const epochMs = '(extract(epoch from received) * 1000)::float8';
/** So long after a delivery was carried out that is noted, for many of them at once. */
const noteMs = 200;
/** More are written by several statements. */
const mostAtOnce = 200;

/** How a delivery is known: `new`, `again` where its outcome is unknown, `done` where it was carried out; and since when. */
export interface Taken {
  known: 'new' | 'again' | 'done';
  received: number;
}

/** Deliveries that were taken and not yet carried out outlive the process; those that were are known again. */
export class Inbox {
  private readonly database: Database;
  private readonly takes = new Batches<Delivery, Taken>(
    mostAtOnce,
    () => 1,
    async (_, all) => this.takeAll(all),
  );
  /** Carried out, and not yet noted so. */
  private readonly ended = new Set<string>();
  private noting: Promise<void> | undefined;

  constructor(database: Database) {
    this.database = database;
  }

  /** Takes a delivery in, durably, and claims it. */
  async take(delivery: Delivery): Promise<Taken> {
    return this.takes.ask('', delivery);
  }

  /**
   * One that was carried out; that is noted soon, together with others. Where this process dies before that, it is carried
   * out again, which changes nothing.
   */
  done(id: string): void {
    this.ended.add(id);
    this.noting ??= sleep(noteMs).then(async () => this.note());
  }

  /** Notes what has ended, before the database is closed. */
  async note(): Promise<void> {
    this.noting = undefined;
    const ids = [...this.ended].toSorted();
    if (ids.length === 0) return;
    try {
      await this.database.query('update undrop_delivery set done = now() where id = any($1)', [ids]);
      for (const id of ids) this.ended.delete(id);
    } catch {
      // The database is away; with the next one it is tried again.
    }
  }

  private async takeAll(all: readonly Delivery[]): Promise<Taken[]> {
    // A statement may meet a row only once, and two statements must meet rows in the same order or they wait for each other.
    const first = new Map(all.toReversed().map((one) => [one.id, one]));
    const rows = [...first.values()].toSorted((one, other) => (one.id < other.id ? -1 : 1)).map((one) => ({ ...one, at: all.indexOf(one) })); // prettier-ignore
    const made = await this.database.query<{ id: string; received: number }>(
      `insert into undrop_delivery as known (id, source, body, remember_ms, received)
       select id, source, letters, "rememberMs", now() + at * interval '1 microsecond'
       from jsonb_to_recordset($1) as one (id text, source text, letters jsonb, "rememberMs" bigint, at int)
       on conflict (id) do update
       set received = excluded.received, claimed = now(), done = null, body = excluded.body, remember_ms = excluded.remember_ms
       where known.done < now() - make_interval(secs => excluded.remember_ms / 1000.0)
       returning id, ${epochMs} as received`,
      [JSON.stringify(rows)],
    );
    const news = new Map(made.map(({ id, received }) => [id, received]));
    const old = [...first.keys()].filter((id) => !news.has(id));
    const found = old.length === 0 ? [] : await this.database.query<{ id: string; done: unknown; received: number }>(
      `select id, done, ${epochMs} as received from undrop_delivery where id = any($1)`, [old]); // prettier-ignore
    const known = new Map(found.map((one) => [one.id, one]));
    return all.map((one) => {
      const received = news.get(one.id);
      if (received !== undefined) return { known: first.get(one.id) === one ? 'new' : 'again', received };
      const earlier = known.get(one.id);
      const over = this.ended.has(one.id) || (earlier && earlier.done !== null);
      return { known: over ? 'done' : 'again', received: earlier?.received ?? Date.now() };
    });
  }

  /** Forgets one that was not carried out: its sender was told so and sends it again. */
  async refuse(id: string): Promise<void> {
    await this.database.query('delete from undrop_delivery where id = $1 and done is null', [id]);
  }

  /** Claims the oldest that nobody has in hand, so that of several gateways one carries each out. */
  async claim(most = mostAtOnce): Promise<Stored[]> {
    const rows = await this.database.query<{ id: string; source: string; body: Letters; at: number; ms: number }>(
      `update undrop_delivery set claimed = now() where id in (
         select id from undrop_delivery where done is null and claimed < now() - make_interval(secs => $1)
         order by received limit $2 for update skip locked
       ) returning id, source, body, ${epochMs} as at, remember_ms::float8 as ms`,
      [claimSeconds, most],
    );
    return rows
      .map(({ id, source, body, at, ms }) => ({ id, source, letters: body, received: at, rememberMs: ms }))
      .toSorted((one, other) => one.received - other.received);
  }

  /** Whether something about a target that came before waits still. */
  async overtakes(id: string, target: string): Promise<boolean> {
    const older = await this.database.query(
      `select 1 from undrop_delivery where done is null and id <> $1 and body @> $2
       and received < (select received from undrop_delivery where id = $1) limit 1`,
      [id, JSON.stringify([{ target }])],
    );
    return older.length > 0;
  }

  async count(): Promise<number> {
    const [row] = await this.database.query<{ n: number }>(
      'select count(*)::int as n from undrop_delivery where done is null',
    );
    return row?.n ?? 0;
  }

  async tidy(): Promise<void> {
    await this.database.query(`delete from undrop_delivery where done < now() - make_interval(hours => $1)`, [
      keepHours,
    ]);
  }
}
