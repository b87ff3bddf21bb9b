import type { Origin, Report } from '../domain/incident.ts';
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

/** Deliveries that were taken and not yet carried out outlive the process; those that were are known again. */
export class Inbox {
  private readonly database: Database;

  constructor(database: Database) {
    this.database = database;
  }

  /**
   * Takes a delivery in, durably, and claims it.
   * @returns how it is known: `new`, `again` where its outcome is unknown, `done` where it was carried out; and when it came
   */
  async take({ id, source, letters, rememberMs }: Delivery): Promise<{ known: 'new' | 'again' | 'done'; at: number }> {
    const [made] = await this.database.query<{ at: number }>(
      `insert into undrop_delivery as known (id, source, body, remember_ms) values ($1, $2, $3, $4)
       on conflict (id) do update set received = now(), claimed = now(), done = null, body = excluded.body
       where known.done < now() - make_interval(secs => $5) returning ${epochMs} as at`,
      [id, source, JSON.stringify(letters), rememberMs, rememberMs / 1000],
    );
    if (made) return { known: 'new', at: made.at };
    const [known] = await this.database.query<{ at: number; done: unknown }>(
      `select done, ${epochMs} as at from undrop_delivery where id = $1`,
      [id],
    );
    return { known: known && known.done !== null ? 'done' : 'again', at: known?.at ?? Date.now() };
  }

  async done(id: string): Promise<void> {
    await this.database.query('update undrop_delivery set done = now() where id = $1', [id]);
  }

  /** Forgets one that was not carried out: its sender was told so and sends it again. */
  async refuse(id: string): Promise<void> {
    await this.database.query('delete from undrop_delivery where id = $1 and done is null', [id]);
  }

  /** Claims the oldest that nobody has in hand, so that of several gateways one carries each out. */
  async claim(most = 50): Promise<Stored[]> {
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
