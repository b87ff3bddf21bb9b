import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { atOnce } from '../domain/at-once.ts';
import { Inventory } from '../domain/inventory.ts';
import { incidentId } from '../domain/incident.ts';
import { type Database, openDatabase } from '../gateway/database.ts';
import { Carrier } from '../gateway/deliver.ts';
import { Inbox } from '../gateway/inbox.ts';
import { real } from './support/machine.ts';
import { Road } from './support/road.ts';

const nodes = { a: { shell: 'local', address: '192.0.2.1' }, b: { shell: 'local', address: '192.0.2.2' } };
const opening = { windowMs: 1000, propose: false, atOnce: 1 };

real('python3')('what Temporal refuses for good', () => {
  let road: Road;
  let database: Database;
  beforeAll(async () => {
    road = new Road();
    await road.open();
    database = await openDatabase(undefined, road.data);
  }, 60_000);
  afterAll(async () => {
    await database?.close();
    await road.close();
  }, 30_000);

  test('is told to the log and over, and what comes with it gets through', async () => {
    const session = await road.session(Inventory.parse({ name: 'deliver', nodes }), false);
    const inbox = new Inbox(database);
    const told: string[] = [];
    const carrier = new Carrier(session, inbox, opening, (what) => told.push(what));
    const reports = [{ source: 's', problem: 'p', status: 'firing', title: 't' } as const];
    const letters = [`a->${'b'.repeat(1_100)}`, 'a->b'].map((target) => ({ target, reports }));
    const delivery = { id: 'one', source: 's', rememberMs: 1000, letters };
    const { received } = await inbox.take(delivery);

    expect(await carrier.carryOut({ ...delivery, received })).toEqual([incidentId('deliver', 'a->b')]);
    expect(told).toEqual([expect.stringMatching(/^incident\/deliver\/a->b+… is told nothing, Temporal takes it for wrong: .*(length|long)/i)]); // prettier-ignore
    await inbox.note();
    expect(await inbox.count()).toBe(0);
    await session.engine.client.workflow.getHandle(incidentId('deliver', 'a->b')).terminate();
  }, 30_000);

  test('is not what the next run of an incident takes: it waits in the inbox', async () => {
    const session = await road.session(Inventory.parse({ name: 'full', nodes }), false);
    const { workflow } = session.engine.client;
    const workflowId = incidentId('full', 'a->b');
    const handle = await workflow.start('incident', { workflowId, taskQueue: session.taskQueue });
    // Nobody works on it, so it has no next run; the server takes 10,000 signals for one.
    const batches = Array.from({ length: 1_000 }, () => Array.from({ length: 10 }, () => []));
    await atOnce(20, batches, async (batch) => {
      for (const signal of batch) await handle.signal('report', signal);
    });
    const inbox = new Inbox(database);
    const told: string[] = [];
    const carrier = new Carrier(session, inbox, opening, (what) => told.push(what));
    const reports = [{ source: 's', problem: 'p', status: 'firing', title: 't' } as const];
    const delivery = { id: 'two', source: 's', rememberMs: 1000, letters: [{ target: 'a->b', reports }] };
    const { received } = await inbox.take(delivery);
    await expect(carrier.carryOut({ ...delivery, received })).rejects.toThrow();
    expect(told).toEqual([]);
    await inbox.note();
    expect(await inbox.count()).toBe(1);
    await handle.terminate();
  }, 90_000);
});
