import type { Database } from './database.ts';
import type { Notice } from './notices.ts';

/** Ends are told for this long; afterwards nobody waits for them. */
export const rememberHours = 72;
/** Waits between attempts, as Standard Webhooks suggest: over days, and then no more. */
export const waitsSeconds = [5, 60, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400];
/** Longer than anything is told again: the server's clock may be behind or ahead of the database's. */
const keepHours = rememberHours + 1;

/** Keeps a notice for each door that has none of it yet. */
export async function keep(database: Database, doors: readonly string[], notice: Notice): Promise<void> {
  for (const door of doors)
    await database.query(
      // Another gateway may have told of its end meanwhile: buttons that come after that would stay.
      `insert into undrop_notice (id, event, body) select $1, $2, $3::jsonb
       where not exists (select 1 from undrop_notice where id = replace($1, '.waiting ', '.ended ')) on conflict (id) do nothing`,
      [`${door} ${notice.event} ${notice.run} ${notice.signed.digest}`, notice.event, storable(notice)],
    );
}

/** As JSON that a database takes: a decision may have come by a bare signal, and a jsonb has no NUL and no half of a pair. */
const storable = (notice: Notice): string =>
  JSON.stringify(notice, (_, value: unknown) =>
    typeof value === 'string' ? value.replaceAll('\0', '\ufffd').toWellFormed() : value,
  );

/** Those of the executions of which there is a notice that they wait, for every door. */
export async function toldWaiting(
  database: Database,
  doors: readonly string[],
  executions: readonly string[],
): Promise<ReadonlySet<string>> {
  const known = await database.query<{ execution: string }>(
    `select body->>'execution' as execution from undrop_notice join unnest($1::text[]) as door on starts_with(id, door || ' ')
     where event like '%.waiting' and body->>'execution' = any($2) group by 1 having count(*) >= $3`,
    [doors, executions, doors.length],
  );
  return new Set(known.map(({ execution }) => execution));
}

/** What was told of one execution while it waited. */
export async function waitingNotice(database: Database, execution: string): Promise<Notice | undefined> {
  const [told] = await database.query<{ body: Notice }>(
    `select body from undrop_notice where event like '%.waiting' and body->>'execution' = $1 limit 1`,
    [execution],
  );
  return told?.body;
}

/**
 * Forgets what is over: sent, or tried in vain, longer ago than any end is looked for. That something waits is known as long
 * as it does, or it would be told twice, and until its end is over too, which refers to it.
 * @param running executions that go on
 */
export async function forget(database: Database, running: readonly string[]): Promise<void> {
  await database.query(
    `delete from undrop_notice one where (sent is not null or attempts >= $1)
     and coalesce(sent, due) < now() - make_interval(hours => $2) and coalesce(body->>'execution', '') <> all($3)
     and not exists (select 1 from undrop_notice other where other.id = replace(one.id, '.waiting ', '.ended ')
       and other.id <> one.id and other.sent is null and other.attempts < $1)`,
    [waitsSeconds.length, keepHours, running],
  );
}
