import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { stringify } from 'yaml';
import { type IncidentProgress, incidentId } from '../domain/incident.ts';
import { Inventory, taskQueueOf } from '../domain/inventory.ts';
import { type Command, Commands } from './support/commands.ts';
import { Namespaces, inside, line, real } from './support/machine.ts';
import { freePort } from './support/port.ts';
import { Road } from './support/road.ts';
import { until } from './support/until.ts';

const targets = Array.from({ length: 20 }, (_, index) => `a${index}->b${index}`);
const alertsEach = 50;
const stormMs = 10_000;
const token = 'a-secret-of-the-storm-that-is-long-enough';
const namespaces = new Namespaces();
const commands = new Commands();

let road: Road;
let file = '';
let config = '';
let url = '';

/** Two machines on a wire, with twenty names for each: as many problems, each with a path of its own that works. */
function inventory(): Inventory {
  const [a, b] = [namespaces.add('-a'), namespaces.add('-b')];
  line(`ip -n ${a} link add eth0 type veth peer name eth0 netns ${b}`);
  for (const [netns, address] of [[a, '10.77.6.1'], [b, '10.77.6.2']]) {
    line(`ip -n ${netns} addr add ${address}/24 dev eth0`);
    line(`ip -n ${netns} link set eth0 up`);
  } // prettier-ignore
  const nodes = targets.flatMap((_, index) => [
    [`a${index}`, { shell: { netns: a }, address: '10.77.6.1' }],
    [`b${index}`, { shell: { netns: b }, address: '10.77.6.2' }],
  ]);
  return Inventory.parse({ name: 'storm', nodes: Object.fromEntries(nodes) as object });
}

const start = async (word: 'worker' | 'gateway'): Promise<Command> => {
  const more = word === 'gateway' ? ['-c', config, '--log-level', 'error'] : [];
  const command = commands.start([word, '-i', file, ...more], { UNDROP_T_TOKEN: token });
  await command.says(word === 'gateway' ? 'listening' : 'working on', 60_000);
  return command;
};

/** Ends the senders with the test, also where it fails. */
const over = new AbortController();

/** One alert; it is sent again until it is acknowledged, as Alertmanager does. @returns how often it was sent */
async function send(target: string, number: number): Promise<number> {
  const alert = {
    status: 'firing', labels: { alertname: `udp-${number}`, undrop_target: target }, annotations: {},
    startsAt: '2026-11-25T00:00:00Z', endsAt: '0001-01-01T00:00:00Z', fingerprint: `${target}-${number}`,
  }; // prettier-ignore
  const body = JSON.stringify({ version: '4', status: 'firing', groupKey: 'g', receiver: 'undrop', alerts: [alert] });
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${token}` };
  for (let times = 1; !over.signal.aborted; times++) {
    const status = await fetch(`${url}/hooks/alerts`, { method: 'POST', body, headers, signal: AbortSignal.timeout(5_000) })
      .then(async (answer) => answer.arrayBuffer().then(() => answer.status), () => 0); // prettier-ignore
    if (status === 200 || status === 202) return times;
    if (status === 401 || status === 400) throw new Error(`answered ${status}`);
    await sleep(300);
  }
  throw new Error('not acknowledged before the end of the test');
}

real('ip')('a storm of alerts', () => {
  beforeAll(async () => {
    road = new Road();
    await road.open();
    const storm = inventory();
    file = road.file(storm);
    const port = await freePort();
    url = `http://127.0.0.1:${port}`;
    config = join(road.data, 'gateway.yaml');
    writeFileSync(config, stringify({
      listen: { port }, url, incidents: { windowSeconds: 1, propose: false, atOnce: 4 },
      sources: { alerts: { kind: 'alertmanager', auth: { secrets: [{ env: 'UNDROP_T_TOKEN' }] }, targets: { ends: 'inventory', allow: ['*'] }, perMinute: 100_000 } },
    })); // prettier-ignore
    await until('the wire is there', () =>
      inside(namespaces.names[0] ?? '', 'ip -o link show eth0').includes('state UP'),
    );
  }, 60_000);
  afterAll(async () => {
    over.abort();
    await commands.end();
    await road.close();
    namespaces.remove();
  }, 60_000);

  test('1,000 alerts about 20 problems, while gateway, worker and engine are each killed: 20 runs, none lost, none twice', async () => {
    let [gateway, worker] = await Promise.all([start('gateway'), start('worker')]);
    const alerts = Array.from({ length: alertsEach }, (_, number) => targets.map((target) => ({ target, number }))).flat();
    const began = Date.now();
    const sent = alerts.map(async ({ target, number }, index) => {
      await sleep((index / alerts.length) * stormMs);
      return send(target, number);
    });
    const killed = async (at: number, kill: () => Promise<void>): Promise<void> => {
      await sleep(Math.max(0, began + at - Date.now()));
      await kill();
    };
    await Promise.all([
      killed(2_000, async () => {
        gateway.kill('SIGKILL');
        await gateway.ended;
        gateway = await start('gateway');
      }),
      killed(4_000, async () => {
        worker.kill('SIGKILL');
        await worker.ended;
        worker = await start('worker');
      }),
      killed(6_000, async () => {
        process.kill(road.serverPid(), 'SIGKILL');
      }),
    ]);
    const times = await Promise.all(sent);
    expect(times).toHaveLength(1000);
    // The kills were felt: somebody had to send again.
    expect(Math.max(...times)).toBeGreaterThan(1);

    const { workflow } = road.engine.client;
    const queue = `TaskQueue = "${taskQueueOf(Inventory.parse({ name: 'storm', nodes: { a: { shell: 'local', address: '10.0.0.1' } } }))}"`;
    const count = async (type: string, more = ''): Promise<number> =>
      (await workflow.count(`WorkflowType = "${type}" AND ${queue}${more}`)).count;
    await until('every run has ended', async () => (await count('diagnose', ' AND ExecutionStatus = "Completed"')) >= 20, 240_000);
    expect(await count('diagnose')).toBe(20);
    expect(await count('incident')).toBe(20);
    for (const target of targets) {
      const progress = await workflow.getHandle(incidentId('storm', target)).query<IncidentProgress>('progress');
      expect({ target, problems: progress.problems.length, runs: progress.runs.length }).toEqual({ target, problems: alertsEach, runs: 1 });
      expect(progress.runs[0]).toMatchObject({ kind: 'no-loss' });
    }
  }, 420_000); // prettier-ignore
});
