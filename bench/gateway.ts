/**
 * How long a sender waits for the gateway's answer: node bench/gateway.ts [ROUNDS], as root, on a quiet machine.
 * 1,000 alerts about 20 problems come evenly within 10 s, while gateway, worker, Temporal and the diagnoses that the alerts
 * begin share this machine's processors. With files and with PostgreSQL, in turns.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { cpus, loadavg, setPriority, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { stringify } from 'yaml';
import { down, labInventory, up } from '../lab/lab.ts';
import { Postgres } from '../lab/postgres/server.ts';
import { median, root, row } from './measure.ts';

const alerts = 1000;
const problems = 20;
const stormMs = 10_000;
const mostMs = 250;
/** Senders are other machines: that this one is busy is not to hold up their clocks. */
const senders = -15;
const token = 'a-secret-of-the-bench-that-is-long-enough';
const agent = new Agent({ keepAlive: true });

/** As many paths as problems, over the same two nodes: each gets a diagnosis of its own. */
function inventory(): object {
  const { nodes } = labInventory('netns');
  const named = (word: string, node: unknown) => Array.from({ length: problems }, (_, index) => [`${word}${index}`, node] as const); // prettier-ignore
  return { name: 'bench', nodes: Object.fromEntries([...named('a', nodes['h1']), ...named('b', nodes['r'])]) };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Sends one alert. @returns milliseconds until it was answered, and whether it was taken: brought to its incident, or stored */
async function send(port: number, index: number): Promise<{ ms: number; taken: boolean }> {
  const labels = { alertname: 'bench', undrop_target: `a${index % problems}->b${index % problems}` };
  const alert = { status: 'firing', labels, annotations: {}, startsAt: '2026-11-25T00:00:00Z', endsAt: '0001-01-01T00:00:00Z', fingerprint: `p${index}` }; // prettier-ignore
  const body = JSON.stringify({ version: '4', status: 'firing', groupKey: 'g', receiver: 'r', alerts: [alert] });
  const headers = { 'content-type': 'application/json', authorization: `Bearer ${token}` };
  const began = performance.now();
  const status = await new Promise<number>((resolve, reject) => {
    const asked = request({ agent, port, host: '127.0.0.1', path: '/hooks/alerts', method: 'POST', headers }, (answer) => {
      answer.resume().once('end', () => resolve(answer.statusCode ?? 0));
    }); // prettier-ignore
    asked.once('error', reject).end(body);
  });
  return { ms: performance.now() - began, taken: status === 200 || status === 202 };
}

/** CPU time that a process has used; unlike what senders wait, it hardly depends on who else uses the machine. */
function cpuMs(child: ChildProcess | undefined): number {
  const fields = readFileSync(`/proc/${child?.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return 10 * (Number(fields[11]) + Number(fields[12])); // in ticks of 10 ms
}

/** One storm over a database. @returns milliseconds of each answer */
async function storm(
  database: string | undefined,
): Promise<{ took: number[]; refused: number; perSecond: number; cpuEach: number }> {
  const folder = mkdtempSync(join(tmpdir(), 'undrop-bench-'));
  const env = { ...process.env, UNDROP_DATA: folder, UNDROP_BENCH: token, ...(database !== undefined && { DATABASE_URL: database }) }; // prettier-ignore
  const [file, config, port] = [join(folder, 'undrop.yaml'), join(folder, 'gateway.yaml'), await freePort()];
  writeFileSync(file, stringify(inventory()));
  const targets = { ends: 'inventory', allow: ['*'] };
  writeFileSync(config, stringify({
    listen: { port }, incidents: { windowSeconds: 1, propose: false },
    sources: { alerts: { kind: 'alertmanager', auth: { secrets: [{ env: 'UNDROP_BENCH' }] }, targets, perMinute: 100_000 } },
  })); // prettier-ignore
  const started: ChildProcess[] = [];
  const start = async (...words: string[]): Promise<void> => {
    const child = spawn(join(root, 'undrop'), [...words, '-i', file], { env, stdio: ['ignore', 'pipe', 'ignore'] });
    started.push(child);
    await new Promise((resolve) => child.stdout.once('data', resolve));
  };
  try {
    await start('worker');
    await start('gateway', '-c', config, '--log-level', 'warn');
    await send(port, 0); // what is loaded once is loaded
    setPriority(senders);
    const [began, cpu] = [performance.now(), cpuMs(started.at(-1))];
    const answers = await Promise.all(
      Array.from({ length: alerts }, async (_, index) => {
        await sleep((index / alerts) * stormMs);
        return send(port, index);
      }),
    );
    setPriority(0); // what is started for the next round inherits it
    const refused = answers.filter(({ taken }) => !taken).length;
    return {
      took: answers.map(({ ms }) => ms),
      refused,
      perSecond: (1000 * alerts) / (performance.now() - began),
      cpuEach: (cpuMs(started.at(-1)) - cpu) / alerts,
    };
  } finally {
    for (const child of started.toReversed()) {
      const gone = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGTERM');
      await gone;
    }
    rmSync(folder, { recursive: true, force: true });
  }
}

const rounds = Number(process.argv[2] ?? 3);
process.stdout.write(`${cpus().length} processors, load ${loadavg()[0]?.toFixed(2)} before the first round\n`);
await up('netns');
const postgres = new Postgres(mkdtempSync(join(tmpdir(), 'undrop-bench-postgres-')));
try {
  await postgres.open();
  const databases = { files: undefined, PostgreSQL: postgres.url };
  const all: Record<string, number[]> = { files: [], PostgreSQL: [] };
  for (let round = 0; round < rounds; round++)
    for (const [name, url] of Object.entries(databases)) {
      await postgres.query('drop table if exists undrop_delivery, undrop_notice, undrop_session');
      const { took, refused, perSecond, cpuEach } = await storm(url);
      const sorted = took.toSorted((one, other) => one - other);
      const [least, most, p99] = [sorted[0], sorted.at(-1), sorted[Math.ceil(0.99 * took.length) - 1]] as [number, number, number]; // prettier-ignore
      const [low, middle, high, top] = [least, median(took), p99, most].map((ms) => ms.toFixed(1));
      process.stdout.write(
        `round ${round + 1}, ${name.padEnd(10)} min ${low} median ${middle} p99 ${high} max ${top} ms, ${perSecond.toFixed(1)} a second, ${refused} to be sent again, ${cpuEach.toFixed(1)} ms of the gateway's CPU time each\n`,
      );
      all[name]?.push(p99);
    }
  for (const [name, p99s] of Object.entries(all))
    row(
      `p99 of a sender's wait, ${alerts} alerts in ${stormMs / 1000} s, inbox in ${name}`,
      median(p99s),
      mostMs,
      'ms',
    );
} finally {
  await postgres.close();
  await down('netns');
}
