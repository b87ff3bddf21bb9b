import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { PGlite } from '@electric-sql/pglite';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Database, openDatabase } from '../gateway/database.ts';
import { forget, keep, toldWaiting, waitingNotice } from '../gateway/notice-table.ts';
import type { Notice } from '../gateway/notices.ts';

const folder = mkdtempSync(join(tmpdir(), 'undrop-t-notice-table-'));
const doors = ['slack', 'hook'];
let database: Database;

const notice = (run: string, word: 'waiting' | 'ended'): Notice =>
  ({ event: `plan.${word}`, run, execution: `run-of-${run}`, target: 'a->b', url: '', signed: { digest: 'd', plan: {} } }) as unknown as Notice; // prettier-ignore
const ids = async (): Promise<string[]> =>
  (await database.query<{ id: string }>('select id from undrop_notice order by id')).map(({ id }) => id);
/** What is in the table, as `WORD RUN: HOURS since it was sent`; in vain where it ran out of attempts then, `due` where it is to be tried again. */
async function has(row: Notice, hours: number, how: 'sent' | 'vain' | 'due' = 'sent'): Promise<void> {
  await keep(database, ['hook'], row);
  await database.query(
    `update undrop_notice set due = now() - make_interval(hours => $2), attempts = $3,
     sent = case when $4 then now() - make_interval(hours => $2) end where body->>'execution' = $1 and event = $5`,
    [row.execution, hours, how === 'vain' ? 10 : 1, how === 'sent', row.event],
  );
}

beforeAll(async () => {
  // As an undrop of before made it, with a notice in it.
  mkdirSync(join(folder, 'gateway'));
  const old = await PGlite.create(join(folder, 'gateway'));
  await old.query(`create table undrop_notice (id text primary key, event text not null, body jsonb not null,
    attempts int not null default 0, due timestamptz not null default now(), sent timestamptz, ref jsonb)`);
  for (const door of doors)
    await old.query('insert into undrop_notice (id, event, body) values ($1, $2, $3)', [`${door} plan.waiting old d`, 'plan.waiting', JSON.stringify(notice('old', 'waiting'))]); // prettier-ignore
  await old.close();
  database = await openDatabase(undefined, folder);
});
afterAll(async () => {
  await database.close();
  rmSync(folder, { recursive: true });
});

test('what an undrop of before has told is known, and found without reading all of it', async () => {
  expect([...(await toldWaiting(database, doors, ['run-of-old', 'run-of-other']))]).toEqual(['run-of-old']);
  expect([...(await toldWaiting(database, [...doors, 'third'], ['run-of-old']))]).toEqual([]);
  expect(await waitingNotice(database, 'run-of-old')).toMatchObject({ run: 'old' });
  await database.query('set enable_seqscan = off');
  const plan = await database.query(`explain select 1 from undrop_notice where body->>'execution' = any('{a,b}')`);
  expect(JSON.stringify(plan)).toContain('undrop_notice_execution');
  await database.query('reset enable_seqscan');
});

test('what is over is forgotten, and nothing that would be told twice then or that something else refers to', async () => {
  await database.query('delete from undrop_notice');
  // Over for long: sent, or tried in vain.
  await has(notice('over', 'waiting'), 90);
  await has(notice('over', 'ended'), 80);
  await has(notice('vain', 'ended'), 80, 'vain');
  await has(notice('lapsed', 'waiting'), 80);
  // Its end was sent not long ago, as long as ends are looked for.
  await has(notice('late', 'waiting'), 90);
  await has(notice('late', 'ended'), 70);
  // It still waits; its end is still to be sent; it is tried again.
  await has(notice('open', 'waiting'), 90);
  await has(notice('owed', 'waiting'), 90);
  await has(notice('owed', 'ended'), 80, 'due');
  await forget(database, ['run-of-open']);
  expect(await ids()).toEqual(['ended late', 'ended owed', 'waiting open', 'waiting owed'].map((one) => `hook plan.${one} d`)); // prettier-ignore
});
