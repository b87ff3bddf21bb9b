import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { Finding } from '../cli/commands/doctor.ts';
import { blindness } from '../cli/node-checks.ts';
import { Inventory, taskQueueOf } from '../domain/inventory.ts';
import { loadChecks, loadRunbook } from '../runbooks/load.ts';
import { Commands } from './support/commands.ts';
import { Road } from './support/road.ts';
import { deadCluster } from './support/dead-cluster.ts';

const inventory = Inventory.parse({ name: 'clinic', nodes: { here: { shell: 'local', address: '127.0.0.1' } } });
const commands = new Commands();
let road: Road;

async function doctor(
  file: string,
  env: NodeJS.ProcessEnv,
): Promise<{ code: unknown; of: (about: string) => Finding }> {
  const command = commands.start(['doctor', '--json', '-i', file], env);
  const code = await command.ended;
  const findings = JSON.parse(command.stdout) as Finding[];
  return {
    code,
    of: (about) => findings.find((one) => one.about === about) ?? { about, state: 'ok', says: 'nothing' },
  };
}

describe('doctor', () => {
  beforeAll(async () => {
    road = new Road();
    await road.open();
  }, 60_000);
  afterAll(async () => {
    await commands.end();
    await road.close();
  }, 60_000);

  test('says where a server that does not answer was named, and what to run where no worker is', async () => {
    const file = road.file(inventory);
    const lost = await doctor(file, { TEMPORAL_ADDRESS: '127.0.0.1:9' });
    expect(lost.of('Temporal')).toMatchObject({ state: 'bad', says: expect.stringMatching(/127\.0\.0\.1:9 cannot be reached.*TEMPORAL_ variables/) }); // prettier-ignore
    expect(lost.code).toBe(3);

    const there = { TEMPORAL_ADDRESS: road.engine.address };
    const without = await doctor(file, there);
    expect(without.of('Temporal').state).toBe('ok');
    expect(without.of('worker')).toMatchObject({ state: 'bad', says: expect.stringContaining('start one with `undrop worker`') }); // prettier-ignore
    await road.session(inventory);
    expect((await doctor(file, there)).of('worker')).toMatchObject({ state: 'ok', says: expect.stringContaining(taskQueueOf(inventory)) }); // prettier-ignore
  }, 90_000);

  test('says which kubectl command has to work where a cluster does not answer, and where the data is', async () => {
    const kubeconfig = await deadCluster(road.data);
    const file = join(road.data, 'cluster.yaml');
    const of = async (context: string): Promise<string> => {
      writeFileSync(file, stringify({ name: 'clinic', kubernetes: { kubeconfig, context } }));
      const { of: found } = await doctor(file, {});
      expect(found('data').says).toContain(road.data);
      return found('cluster').says;
    };
    expect(await of('prod')).toMatch(/ECONNREFUSED.*`kubectl --kubeconfig \S+ --context prod get nodes` has to work/);
    expect(await of('yesterday')).toMatch(/no context yesterday; it has: prod/);
  }, 60_000);

  test('warns of a table that fills up from where audits do, in their words', () => {
    const checks = loadChecks(loadRunbook());
    const at = (count: number): string[] => blindness({ gauges: { nf_conntrack_count: count, nf_conntrack_max: 1000 } }, checks); // prettier-ignore
    expect(at(699)).toEqual([]);
    expect(at(720)).toEqual([
      expect.stringMatching(/tracking table is 72 % full: once full it accepts no new session/),
    ]);
  });
});
