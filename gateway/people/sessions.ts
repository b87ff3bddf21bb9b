import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Database } from '../database.ts';
import type { Principal } from './roles.ts';

/** People sign in once a working day. */
const hours = 10;

/** Signed-in people. Only a hash of what their browser holds is stored: who reads the database cannot be them. */
export class Sessions {
  private readonly database: Database;
  private readonly key: Buffer;

  /** @param key bytes that all replicas of a gateway share */
  constructor(database: Database, key: Buffer) {
    this.database = database;
    this.key = key;
  }

  /** @returns what the browser keeps */
  async open(person: Principal): Promise<string> {
    const token = randomBytes(32).toString('base64url');
    await this.database.query('delete from undrop_session where expires < now()');
    await this.database.query(
      'insert into undrop_session (id, person, expires) values ($1, $2, now() + make_interval(hours => $3))',
      [hash(token), JSON.stringify(person), hours],
    );
    return token;
  }

  async find(token: string): Promise<Principal | undefined> {
    const [row] = await this.database.query<{ person: string }>(
      'select person from undrop_session where id = $1 and expires > now()',
      [hash(token)],
    );
    return row && (JSON.parse(row.person) as Principal);
  }

  /** Groups that the identity provider named at somebody's last sign-in, while that lasts: for doors that it has no part in. */
  async groupsOf(name: string): Promise<readonly string[] | undefined> {
    const [row] = await this.database.query<{ person: string }>(
      `select person from undrop_session where person::jsonb->>'name' = $1 and expires > now() order by expires desc limit 1`,
      [name],
    );
    return row && (JSON.parse(row.person) as Principal).groups;
  }

  async close(token: string): Promise<void> {
    await this.database.query('delete from undrop_session where id = $1', [hash(token)]);
  }

  /** What a form of this session about this thing carries: the form of another session, or of another plan, has no effect. */
  formToken(session: string, about: string): string {
    return createHmac('sha256', this.key).update(`${session}\n${about}`).digest('base64url');
  }

  formIs(session: string, about: string, token: string): boolean {
    const [expected, given] = [this.formToken(session, about), token].map((text) => Buffer.from(text));
    return expected !== undefined && given?.length === expected.length && timingSafeEqual(expected, given);
  }
}

const hash = (token: string): string => createHash('sha256').update(token).digest('hex');
