import { mkdir } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { keeperSocket } from '../worker/paths.ts';

/** The little of SQL that the gateway uses; parameters never become part of the text. */
export interface Database {
  query<Row>(sql: string, values?: unknown[]): Promise<Row[]>;
  close(): Promise<void>;
}

/**
 * Opens PostgreSQL where a URL is given, else PGlite (PostgreSQL in this process) with its files below the data folder.
 * @throws Error when it cannot be reached, or another gateway has the files
 */
export async function openDatabase(url: string | undefined, folder: string): Promise<Database> {
  const database = url === undefined ? await openFiles(join(folder, 'gateway')) : await openServer(url);
  await database.query(schema);
  return database;
}

/** One statement, so that both drivers take it; each part may be there already. */
const schema = `do $$ begin
  create table if not exists undrop_delivery (
    id text primary key,
    source text not null,
    received timestamptz not null default now(),
    done timestamptz,
    body jsonb not null
  );
  alter table undrop_delivery
    add column if not exists claimed timestamptz not null default now(),
    add column if not exists remember_ms bigint not null default 0;
  create index if not exists undrop_delivery_open on undrop_delivery (received) where done is null;
  create table if not exists undrop_notice (
    id text primary key,
    event text not null,
    body jsonb not null,
    attempts int not null default 0,
    due timestamptz not null default now(),
    sent timestamptz,
    ref jsonb
  );
  alter table undrop_notice add column if not exists claimed timestamptz;
  create index if not exists undrop_notice_execution on undrop_notice ((body->>'execution'));
  create index if not exists undrop_notice_open on undrop_notice (due) where sent is null;
  create table if not exists undrop_look (
    id text primary key,
    since timestamptz not null
  );
  create table if not exists undrop_session (
    id text primary key,
    person text not null,
    expires timestamptz not null
  );
end $$`;

async function openServer(url: string): Promise<Database> {
  const { default: pg } = await import('pg');
  const pool = new pg.Pool({
    connectionString: url,
    max: 8,
    connectionTimeoutMillis: 5_000,
    statement_timeout: 10_000,
  });
  // An idle connection that breaks is replaced; without a listener it would end the process.
  pool.on('error', () => {});
  return {
    query: async <Row>(sql: string, values: unknown[] = []) => (await pool.query(sql, values)).rows as Row[],
    close: async () => pool.end(),
  };
}

async function openFiles(folder: string): Promise<Database> {
  // Two processes on the same files would ruin them. The name vanishes with its process, however that ends.
  const lock = createServer();
  await new Promise<void>((resolve, reject) => {
    lock.once('error', () => reject(new Error(`another gateway has ${folder} open; give it a database of its own`)));
    lock.listen(keeperSocket(folder), resolve);
  });
  lock.unref();
  const { PGlite } = await import('@electric-sql/pglite');
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const lite = await PGlite.create(folder);
  return {
    query: async <Row>(sql: string, values: unknown[] = []) => (await lite.query<Row>(sql, values)).rows,
    close: async () => {
      await lite.close();
      lock.close();
    },
  };
}
