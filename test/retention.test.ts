import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { existsSync, mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from '@temporalio/client';
import { EvidenceStore } from '../activities/store.ts';
import { Inventory, taskQueueOf } from '../domain/inventory.ts';
import { type OpenRuns, openRuns, retain, sweep, sweepDaily } from '../worker/retention.ts';
import { Road } from './support/road.ts';
import { until } from './support/until.ts';

const dayMs = 86_400_000;
const limits = { days: 30, changesDays: 365 };
const nothing: OpenRuns = { since: Infinity, names: new Set() };

/** Makes a file or folder as if it had last been written so many days ago. */
const aged = (path: string, days: number): void => {
  const at = new Date(Date.now() - days * dayMs);
  utimesSync(path, at, at);
};

describe('what is kept', () => {
  const data = mkdtempSync(join(tmpdir(), 'undrop-t-keep-'));
  const store = new EvidenceStore(join(data, 'evidence'));
  const before = process.env['UNDROP_DATA'];
  beforeAll(() => {
    process.env['UNDROP_DATA'] = data;
  });
  afterAll(() => {
    if (before === undefined) delete process.env['UNDROP_DATA'];
    else process.env['UNDROP_DATA'] = before;
    rmSync(data, { recursive: true });
  });

  const fileOf = (digest: string): string => join(data, 'evidence', digest.slice(0, 2), `${digest}.json.gz`);
  const kept = async (value: unknown, days: number): Promise<string> => {
    const digest = await store.put(value);
    aged(fileOf(digest), days);
    return digest;
  };
  const report = (room: string, name: string, days: number, ...files: string[]): string => {
    const folder = join(data, room, name);
    mkdirSync(folder, { recursive: true });
    for (const file of ['report.json', ...files]) {
      writeFileSync(join(folder, file), '{}');
      aged(join(folder, file), days);
    }
    aged(folder, days);
    return folder;
  };
  const swept = (open = nothing): Promise<unknown> => sweep(limits, open, Date.now());

  test('evidence goes when nobody used it for longer than the limit, also half a file of a killed worker', async () => {
    const [old, young] = [await kept('old', 31), await kept('young', 29)];
    const half = `${fileOf(old)}.0123abcd`;
    writeFileSync(half, 'half');
    aged(half, 31);
    expect(await swept()).toMatchObject({ evidence: 2, reports: 0 });
    expect([old, young].map((digest) => existsSync(fileOf(digest)))).toEqual([false, true]);
    expect(existsSync(half)).toBe(false);
    await expect(store.get(old)).rejects.toThrow(/keep\.days/);
  });

  test('a part that several runs share stays as long as one of them reads or writes it', async () => {
    const [read, written] = [await kept('read again', 400), await kept('written again', 400)];
    expect(await store.get(read)).toBe('read again');
    await store.put('written again');
    expect(await swept()).toMatchObject({ evidence: 0 });
    expect([read, written].map((digest) => existsSync(fileOf(digest)))).toEqual([true, true]);
  });

  test('a run that is open keeps its report, and all evidence that was used since it began', async () => {
    const began = Date.now() - 50 * dayMs;
    const [during, earlier] = [await kept('during', 49), await kept('earlier', 51)];
    const [its, other] = [report('runs', 'open', 60), report('runs', 'over', 60)];
    await swept({ since: began, names: new Set(['open']) });
    expect([during, earlier].map((digest) => existsSync(fileOf(digest)))).toEqual([true, false]);
    expect([its, other].map((folder) => existsSync(folder))).toEqual([true, false]);
    await swept();
    expect([existsSync(fileOf(during)), existsSync(its)]).toEqual([false, false]);
  });

  test('reports go by their newest file; those of a plan are kept as the record of changes', async () => {
    const old = [
      report('runs', 'old', 31),
      report('audits', 'old', 31),
      report('runs', 'undone', 366, 'remediation-1.md'),
    ];
    const still = [report('runs', 'new', 29), report('audits', 'new', 29), report('runs', 'changed', 364, 'remediation-1.md'), report('runs', 'rolled', 364, 'rollout.md')]; // prettier-ignore
    const rewritten = report('runs', 'rewritten', 31);
    aged(join(rewritten, 'report.json'), 1);
    writeFileSync(join(data, 'runs', 'note'), 'of a person');
    aged(join(data, 'runs', 'note'), 400);
    expect(await swept()).toMatchObject({ reports: 3 });
    expect(old.map((folder) => existsSync(folder))).toEqual([false, false, false]);
    expect([...still, rewritten].map((folder) => existsSync(folder))).toEqual([true, true, true, true, true]);
    expect(existsSync(join(data, 'runs', 'note'))).toBe(true);
  });

  test('limits shorter than a plan may wait, and a record of changes shorter than the rest, are wrong', () => {
    const inventory = (keep: object): unknown => ({
      name: 'a',
      nodes: { n: { shell: 'local', address: '::1' } },
      keep,
    });
    expect(Inventory.parse(inventory({})).keep).toEqual(limits);
    expect(() => Inventory.parse(inventory({ days: 7 }))).toThrow();
    expect(() => Inventory.parse(inventory({ days: 400 }))).toThrow(/no less than days/);
  });
});

describe('a worker', () => {
  const inventory = Inventory.parse({ name: 'a', nodes: { n: { shell: 'local', address: '::1' } } });
  let road: Road;
  beforeAll(async () => {
    road = new Road();
    await road.open();
  }, 60_000);
  afterAll(() => road.close());

  test('asks the server which runs are open, and deletes once a day by the longest limit of its data folder', async () => {
    const { client } = road.engine;
    const longer = { ...inventory, name: 'b', keep: { days: 90, changesDays: 365 } };
    const start = (kind: string, name: string): Promise<unknown> =>
      client.workflow.start(kind, { workflowId: `${kind}/${name}`, taskQueue: taskQueueOf(inventory), args: [{}] });
    // Nobody works on this queue: the run waits as one does that waits for people.
    const began = Date.now();
    await start('remediate', '20261124-0912-ab3f01');
    await start('rollout', '20261124-0913-ab3f02');
    // Of two inventories, as the server names audits of schedules.
    for (const name of ['a', 'b']) await start('audit', `${name}/hourly-2026-11-24T09:00:00Z`);
    await until('the runs are listed', async () => (await openRuns(client)).names.size > 3);
    const open = await openRuns(client);
    expect([...open.names].toSorted()).toEqual(['20261124-0912-ab3f01', '20261124-0913-ab3f02', 'a_hourly-2026-11-24T09-00-00Z', 'b_hourly-2026-11-24T09-00-00Z']); // prettier-ignore
    expect(Math.abs(open.since - began)).toBeLessThan(5_000);

    const folder = join(road.data, 'runs', '20260924-0912-ab3f01');
    const stamp = join(road.data, 'keep', 'swept');
    mkdirSync(folder, { recursive: true });
    aged(folder, 60);
    expect(await sweepDaily(client, longer)).toMatchObject({ reports: 0 });
    expect(await sweepDaily(client, inventory)).toBeUndefined();
    aged(stamp, 1.1);
    expect(await sweepDaily(client, inventory)).toMatchObject({ reports: 0 });
    rmSync(join(road.data, 'keep', 'b.json'));
    aged(stamp, 1.1);
    const told: string[] = [];
    const end = retain(client, inventory, (level, message) => told.push(`${level}: ${message}`));
    await until('it has swept', () => told.length > 0);
    end();
    expect([existsSync(folder), told]).toEqual([false, ['info: old evidence and reports were deleted']]);
  });

  test('deletes nothing where the server cannot say which runs are open', async () => {
    const folder = join(road.data, 'runs', 'old');
    mkdirSync(folder, { recursive: true });
    aged(folder, 60);
    aged(join(road.data, 'keep', 'swept'), 1.1);
    const { connection } = road.engine.client;
    const elsewhere = new Client({ connection, namespace: 'nowhere' });
    const told: string[] = [];
    const end = retain(elsewhere, inventory, (level, message) => told.push(`${level}: ${message}`));
    await until('it has given up', () => told.length > 0, 30_000);
    end();
    expect([existsSync(folder), told]).toEqual([true, ['warn: old evidence was not deleted']]);
  });
});
