import { readFile } from 'node:fs/promises';
import type { ScheduleOptions } from '@temporalio/client';
import { z } from 'zod';
import type { AuditInput } from '../domain/audit.ts';
import { digestOf } from '../domain/digest.ts';
import { FileError, parseYaml } from '../domain/yaml.ts';
import { auditInput } from './auditing.ts';
import { UserError } from './output.ts';
import { appliedOf, createSchedule, idOf, scheduleOf, schedules } from './scheduling.ts';
import type { Session } from './session.ts';

const Entry = z
  .strictObject({
    name: z.string(),
    every: z.string().optional(),
    cron: z.string().optional(),
    jitter: z.string().optional(),
    only: z.array(z.string()).min(1).optional(),
    profile: z.string().optional(),
    deadline: z.string().optional(),
    diagnose: z.boolean().default(false),
    propose: z.boolean().default(false),
  })
  .refine(
    ({ every, cron }) => (every === undefined) !== (cron === undefined),
    'give either every, such as 1h, or cron',
  );
type Entry = z.infer<typeof Entry>;

const List = z
  .strictObject({ schedules: z.array(Entry) })
  .refine(({ schedules: all }) => new Set(all.map(({ name }) => name)).size === all.length, 'two have the same name');

export interface Applied {
  name: string;
  outcome: 'made' | 'replaced' | 'as it was' | 'deleted';
}

/**
 * Makes the schedules of this inventory those of a list: what is new is made, what differs is replaced (and stays paused
 * where it was), what an earlier list had is deleted. Those that people made by hand are left alone. May be done again.
 * @throws UserError before anything is touched when the list is wrong, or has the name of one made by hand
 */
export async function applySchedules(session: Session, file: string, requester: string): Promise<Applied[]> {
  const list = await listIn(file);
  const known = await schedules(session);
  const wanted = await Promise.all(
    list.map(async (entry) => {
      idOf(session, entry.name);
      const input = await auditInput(session, requester, entry);
      // Who applies it makes no difference: people and pods may take turns.
      const { requester: _, ...same } = input;
      const { every, cron, jitter } = entry;
      return {
        entry,
        input,
        digest: digestOf({ ...same, every: every ?? '', cron: cron ?? '', jitter: jitter ?? '' }),
      };
    }),
  );
  for (const { name, applied } of known)
    if (applied === undefined && list.some((one) => one.name === name))
      throw new UserError(`somebody made the schedule ${name} by hand: delete it, or choose another name`);
  const done: Applied[] = [];
  for (const { entry, input, digest } of wanted)
    done.push({ name: entry.name, outcome: await put(session, entry, input, digest, known) });
  for (const { name, applied } of known)
    if (applied !== undefined && !list.some((one) => one.name === name)) {
      await (await scheduleOf(session, name)).handle.delete();
      done.push({ name, outcome: 'deleted' });
    }
  return done;
}

async function put(
  session: Session,
  entry: Entry,
  input: AuditInput,
  applied: string,
  known: { name: string }[],
): Promise<Applied['outcome']> {
  const { name } = entry;
  if (!known.some((one) => one.name === name)) {
    await createSchedule(session, name, entry, input, { applied });
    return 'made';
  }
  const { handle, is } = await scheduleOf(session, name);
  if (appliedOf(is.memo) === applied) return 'as it was';
  const { paused, note } = is.state;
  const state = { paused, ...(note !== undefined && { note }) };
  // A schedule's memo cannot be changed, and lists show it: so it is made anew.
  await handle.delete();
  try {
    await createSchedule(session, name, entry, input, { applied, state });
  } catch (error) {
    // Such as a cron expression that the server does not take: better the old rhythm than none.
    const { scheduleId, spec, action, policies, memo } = is;
    await session.engine.client.schedule.create({ scheduleId, spec, action, policies, state, ...(memo && { memo }) } as ScheduleOptions); // prettier-ignore
    throw error;
  }
  return 'replaced';
}

async function listIn(file: string): Promise<Entry[]> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new UserError(`${file}: ${error.message}`);
  });
  try {
    return parseYaml(text, file, List).schedules;
  } catch (error) {
    if (error instanceof FileError) throw new UserError(error.message);
    throw error;
  }
}
