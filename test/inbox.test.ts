import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Stored } from '../gateway/inbox.ts';
import { Postgres } from '../lab/postgres/server.ts';
import { real } from './support/machine.ts';
import { type Process, Site } from './support/site.ts';
import { until } from './support/until.ts';

/** The path `event` is a sender that does not send again, `alert` is one that does. */
const event = (problem: string, status: 'firing' | 'resolved' = 'firing', target = 'a->b') => ({
  path: '/hooks/events',
  body: { specversion: '1.0', type: `x.${status}`, source: 't', id: `${problem}-${status}`, data: { problem, status, title: problem, labels: { undrop_target: target } } },
}); // prettier-ignore
const alert = (problem: string) => ({
  path: '/hooks/alerts',
  body: { version: '4', status: 'firing', groupKey: 'g', receiver: 'r', alerts: [{ status: 'firing', labels: { undrop_target: 'a->b' }, annotations: {}, startsAt: '2026-11-25T00:00:00Z', endsAt: '0001-01-01T00:00:00Z', fingerprint: problem }] },
}); // prettier-ignore
const numbered = (word: string, count: number): string[] => Array.from({ length: count }, (_, index) => `${word}-${index}`); // prettier-ignore

const once = (problems: readonly string[], said = 'firing 1x') => Object.fromEntries(problems.map((one) => [one, said])); // prettier-ignore
const back = 30_000;

function promises(name: string, databaseUrl: () => string | undefined): void {
  let site: Site;
  let gateway: Process;

  beforeAll(async () => {
    site = new Site(name, databaseUrl());
    await site.open();
    gateway = await site.gateway();
  }, 90_000);
  afterAll(async () => site?.close());

  test('a sender that does not send again gets 202, and its alert is delivered once, though the gateway was killed too', async () => {
    const early = numbered('early', 20);
    await site.temporal.kill();
    for (const { status } of await Promise.all(early.map(async (one) => gateway.send(event(one)))))
      expect(status).toBe(202);
    expect(await gateway.waiting()).toBe(20);
    await gateway.kill();
    await gateway.start();
    expect(await gateway.waiting()).toBe(20);
    expect(await gateway.send(event('early-20'))).toMatchObject({ status: 202 });
    // A copy changes nothing.
    expect(await gateway.send(event('early-0'))).toMatchObject({ status: 202 });
    await site.temporal.start();
    await until('the inbox is empty', async () => (await gateway.waiting()) === 0, back);
    await until('the incident has them', async () => Object.keys(await site.problems('early')).length === 21, back);
    expect(await site.problems('early')).toEqual(once([...early, 'early-20']));
    expect(await gateway.send(event('early-0'))).toMatchObject({ status: 200 });
    expect(await site.problems('early-0')).toEqual(once(['early-0']));
  }, 120_000);

  test('a sender that sends again gets 503 and when to, and nothing is kept', async () => {
    await site.temporal.kill();
    expect(await gateway.send(alert('later'))).toEqual({ status: 503, retryAfter: '5' });
    expect(await gateway.waiting()).toBe(0);
    expect(await gateway.send(event('marker'))).toMatchObject({ status: 202 });
    await gateway.kill();
    await gateway.start();
    await site.temporal.start();
    await until('what was kept is delivered', async () => (await site.problems('marker'))['marker'], back);
    expect(await site.problems('later')).toEqual({});
    expect([200, 202]).toContain((await gateway.send(alert('later'))).status);
    await until('it is delivered', async () => (await site.problems('later'))['later']);
    expect(await site.problems('later')).toEqual(once(['later']));
  }, 120_000);

  test('what was acknowledged while the engine was slow is kept, though a copy of it was refused later', async () => {
    await until('the inbox is empty', async () => (await gateway.waiting()) === 0, back);
    site.temporal.hang();
    expect(await gateway.send(alert('slow'))).toMatchObject({ status: 202 });
    await site.temporal.kill();
    await until('the gateway has noticed', async () => (await gateway.send(alert('slow'))).status === 503);
    expect(await gateway.waiting()).toBe(1);
    await site.temporal.start();
    await until('what was kept is delivered', async () => (await site.problems('slow'))['slow'], back);
    expect(await site.problems('slow')).toEqual(once(['slow']));
  }, 120_000);

  test('what is resolved stays so, though the news that it fires came out of the inbox after that', async () => {
    const flaps = numbered('flap', 10);
    await site.temporal.kill();
    for (const { status } of await Promise.all(flaps.map(async (one) => gateway.send(event(one)))))
      expect(status).toBe(202);
    await site.temporal.start();
    for (const { status } of await Promise.all(flaps.map(async (one) => gateway.send(event(one, 'resolved')))))
      expect([200, 202]).toContain(status);
    await until('the inbox is empty', async () => (await gateway.waiting()) === 0, back);
    await until('all are told', async () => Object.values(await site.problems('flap')).every((said) => said.endsWith('2x'))); // prettier-ignore
    expect(await site.problems('flap')).toEqual(once(flaps, 'resolved 2x'));
  }, 120_000);

  test('what is resolved waits for the news that it fired, which is still in the inbox, and opens nothing later', async () => {
    await site.temporal.kill();
    expect(await gateway.send(event('first', 'firing', 'b->a'))).toMatchObject({ status: 202 });
    await site.temporal.start();
    await until('the gateway has noticed', async () => gateway.ready());
    expect([200, 202]).toContain((await gateway.send(event('first', 'resolved', 'b->a'))).status);
    await until('the inbox is empty', async () => (await gateway.waiting()) === 0, back);
    await until('both are told', async () => (await site.problems('first', 'b->a'))['first']?.endsWith('2x'));
    expect(await site.problems('first', 'b->a')).toEqual(once(['first'], 'resolved 2x'));
  }, 120_000);

  if (name === 'files')
    test('who sends too much is told when to go on; forged messages take nothing of its share', async () => {
      const few = (problem: string) => ({ ...alert(problem), path: '/hooks/few' });
      for (const one of numbered('forged', 15)) expect((await gateway.send(few(one), true)).status).toBe(401);
      for (const one of numbered('few', 2)) expect([200, 202]).toContain((await gateway.send(few(one))).status);
      const { status, retryAfter } = await gateway.send(few('few-2'));
      expect(status).toBe(503); // Alertmanager gives up where it is told 429
      expect(Number(retryAfter)).toBeGreaterThan(0);
      for (const one of numbered('forged', 10)) await gateway.send(few(one), true);
      expect((await gateway.send(few('forged'), true)).status).toBe(429);
      expect((await gateway.send({ ...alert('x'.repeat(300_000)), path: '/hooks/alerts' })).status).toBe(413);
      const counted = async (source: string, outcome: string): Promise<number> =>
        gateway.metric(`undrop_deliveries_total{source="${source}",outcome="${outcome}"}`);
      expect(await counted('few', 'limited')).toBeGreaterThanOrEqual(2);
      expect(await counted('alerts', 'too-large')).toBe(1);
      expect(Object.keys(await site.problems('few'))).not.toContain('few-2');
    });

  if (name === 'postgres')
    test('two gateways over one database deliver each alert once, also those that came to both', async () => {
      const other = await site.gateway();
      const [single, double] = [numbered('single', 60), numbered('double', 20)];
      await site.temporal.kill();
      const sent = await Promise.all([
        ...single.map(async (one, index) => (index % 2 ? gateway : other).send(event(one))),
        ...double.flatMap((one) => [gateway.send(event(one)), other.send(event(one))]),
      ]);
      for (const { status } of sent) expect(status).toBe(202);
      expect([await gateway.waiting(), await other.waiting()]).toEqual([80, 80]);
      await site.temporal.start();
      await until('the inbox is empty', async () => (await gateway.waiting()) === 0, back);
      expect(await site.problems('single')).toEqual(once(single));
      expect(await site.problems('double')).toEqual(once(double));
      // While the engine is there, too.
      await Promise.all(numbered('twin', 20).flatMap((one) => [gateway.send(event(one)), other.send(event(one))]));
      await until('all are told', async () => Object.keys(await site.problems('twin')).length === 20, back);
      expect(await site.problems('twin')).toEqual(once(numbered('twin', 20)));
      await other.kill();
    }, 120_000);
}

real('unshare', 'setpriv')('the inbox while Temporal is away', () => {
  describe('in files', () => promises('files', () => undefined));
  describe('in PostgreSQL', () => {
    const postgres = new Postgres(mkdtempSync(join(tmpdir(), 'undrop-t-postgres-')));
    beforeAll(async () => postgres.open(), 90_000);
    afterAll(async () => postgres.close());
    promises('postgres', () => postgres.url);

    test('what one gateway has claimed no other gets, until it must be dead', async () => {
      const site = new Site('claims', postgres.url);
      const [one, other] = [await site.inbox(), await site.inbox()];
      const ids = numbered('claimed', 40);
      for (const id of ids) await one.inbox.take({ id, source: 's', rememberMs: 1, letters: [] });
      const claimed = async (): Promise<Stored[]> => (await Promise.all([one, other, one, other].map(async ({ inbox }) => inbox.claim(15)))).flat(); // prettier-ignore
      expect(await claimed()).toEqual([]); // those that took them have them in hand
      await postgres.query(
        "update undrop_delivery set claimed = now() - interval '6 seconds' where id like 'claimed-%'",
      );
      const got = (await claimed()).map(({ id }) => id);
      expect(got.toSorted()).toEqual(ids.toSorted());
      expect(await claimed()).toEqual([]);
      for (const id of ids) await one.inbox.refuse(id);
      await Promise.all([one.close(), other.close(), site.close()]);
    });
  });
});
