import type { Report } from '../domain/incident.ts';
import type { Database } from './database.ts';

/** What one delivery says of each target. */
export type Letters = { target: string; reports: Report[] }[];

export interface Delivery {
  id: string;
  source: string;
  letters: Letters;
  /** One that was carried out is remembered for so long: a copy of it has no effect. */
  rememberMs: number;
}

/** Longer than anything is remembered. */
const keepHours = 48;

/** Deliveries that were taken and not yet carried out outlive the process; those that were are known again. */
export class Inbox {
  private readonly database: Database;

  constructor(database: Database) {
    this.database = database;
  }

  /**
   * Takes a delivery in, durably.
   * @returns `new`, `again` where it was taken before and its outcome is unknown, `done` where it was carried out
   */
  async take({ id, source, letters, rememberMs }: Delivery): Promise<'new' | 'again' | 'done'> {
    const made = await this.database.query(
      `insert into undrop_delivery as known (id, source, body) values ($1, $2, $3)
       on conflict (id) do update set received = now(), done = null, body = excluded.body
       where known.done < now() - make_interval(secs => $4) returning id`,
      [id, source, JSON.stringify(letters), rememberMs / 1000],
    );
    if (made.length > 0) return 'new';
    const [known] = await this.database.query<{ done: unknown }>('select done from undrop_delivery where id = $1', [
      id,
    ]);
    return known && known.done !== null ? 'done' : 'again';
  }

  async done(id: string): Promise<void> {
    await this.database.query('update undrop_delivery set done = now() where id = $1', [id]);
  }

  /** Forgets one that was not carried out: its sender was told so and sends it again. */
  async refuse(id: string): Promise<void> {
    await this.database.query('delete from undrop_delivery where id = $1 and done is null', [id]);
  }

  /** The oldest that wait, apart from those that a request has in its hands right now. */
  async waiting(most = 50): Promise<Omit<Delivery, 'rememberMs'>[]> {
    const rows = await this.database.query<{ id: string; source: string; body: Letters }>(
      `select id, source, body from undrop_delivery
       where done is null and received < now() - interval '5 seconds' order by received limit $1`,
      [most],
    );
    return rows.map(({ id, source, body }) => ({ id, source, letters: body }));
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
