/**
 * Keeps one Temporal server per user and data folder. Every undrop command holds a connection to the keeper; it starts the
 * server with the first one and stops it, and itself, when the last has gone. So two commands share one server, and
 * neither ^C nor a crash of a command leaves a process behind.
 *   node worker/keeper.ts DATA-FOLDER TEMPORAL-BINARY
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { openSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, type Socket, createConnection, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { keeperSocket, tokenFile } from './paths.ts';

const [data = '', binary = ''] = process.argv.slice(2);
const database = join(data, 'temporal.db');
const pidFile = join(data, 'server.pid');
const portFile = join(data, 'server.port');
/** An abstract socket has no owner: this, in a folder that only its user can read, shows who listens there. */
const token = randomBytes(16).toString('hex');
/** A command that ends just as the next one starts should not cost a server start. */
const lingerMs = 1_000;
const startMs = 20_000;

/** Without these a short workflow pays 100 ms a step and a timer a second (measured; docs/engine.md). */
const settings = [
  ...['transfer', 'timer', 'visibility'].map((queue) => `history.${queue}ProcessorMaxPollRPS=1000`),
  'history.timerProcessorMaxTimeShift="10ms"',
];

const listener = createServer();
const clients = new Set<Socket>();
let server: ChildProcess | undefined;
let address = '';
let stopping = false;

listener.on('connection', (socket) => {
  clients.add(socket);
  socket.on('error', () => socket.destroy());
  socket.on('close', () => {
    clients.delete(socket);
    void stopWhenIdle();
  });
  if (address) tell(socket);
});
listener.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EADDRINUSE' ? 0 : 1));
await mkdir(data, { recursive: true, mode: 0o700 });
await new Promise<void>((resolve) => listener.listen(keeperSocket(data), resolve));
await writeFile(tokenFile(data), token, { mode: 0o600 });
process.on('SIGTERM', () => void stop());
process.on('SIGINT', () => void stop());

try {
  await endOrphan();
  const port = await freePort();
  await writeFile(portFile, String(port));
  await start(port);
  address = `127.0.0.1:${port}`;
  clients.forEach(tell);
} catch (error) {
  for (const socket of clients) socket.end(`${JSON.stringify({ token, error: String(error) })}\n`);
  await stop();
}
void stopWhenIdle();

function tell(socket: Socket): void {
  socket.write(`${JSON.stringify({ token, address })}\n`);
}

async function start(port: number): Promise<void> {
  const attributes = ['UndropTarget', 'UndropPhase', 'UndropConclusion'];
  const argv = [
    'server', 'start-dev', '--ip', '127.0.0.1', '--port', String(port), '--headless', '--db-filename', database,
    '--log-level', 'error', '--sqlite-pragma', 'journal_mode=WAL', '--sqlite-pragma', 'synchronous=NORMAL',
    ...settings.flatMap((setting) => ['--dynamic-config-value', setting]),
    ...attributes.flatMap((name) => ['--search-attribute', `${name}=Keyword`]),
  ]; // prettier-ignore
  const log = openSync(join(data, 'server.log'), 'a', 0o600);
  const child = spawn(binary, argv, { stdio: ['ignore', log, log] });
  server = child;
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve).once('error', reject);
  });
  await writeFile(pidFile, String(child.pid));
  const until = Date.now() + startMs;
  while (!(await open(port))) {
    if (child.exitCode !== null) throw new Error(`the Temporal server ended at once; see ${join(data, 'server.log')}`);
    if (Date.now() > until) throw new Error(`the Temporal server does not answer; see ${join(data, 'server.log')}`);
    await sleep(20);
  }
  // A server that died is started again on the same port: its clients reconnect by themselves and their runs go on.
  child.once('exit', () => {
    if (!stopping) void start(port).catch(() => stop());
  });
}

async function stopWhenIdle(): Promise<void> {
  await sleep(lingerMs);
  if (clients.size === 0 && address && !stopping) await stop();
}

async function stop(): Promise<void> {
  stopping = true;
  listener.close();
  if (server?.pid !== undefined && server.exitCode === null) {
    const gone = new Promise((resolve) => server?.once('exit', resolve));
    server.kill('SIGTERM');
    await Promise.race([gone, sleep(5_000).then(() => server?.kill('SIGKILL'))]);
  }
  await rm(pidFile, { force: true });
  process.exit(0);
}

/** A keeper that was killed leaves its server behind, which would hold the database. Only ours is ended: by its command line. */
async function endOrphan(): Promise<void> {
  const pid = Number(await readFile(pidFile, 'utf8').catch(() => '0'));
  const ours = async (): Promise<boolean> =>
    pid > 1 && (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).includes(`\0${database}\0`);
  // The last keeper's server may just be ending.
  for (let waited = 0; (await ours()) && waited < 3_000; waited += 50) await sleep(50);
  if (await ours()) process.kill(pid, 'SIGKILL');
}

/** The last server's port where nobody else took it: commands that outlived that server find this one there. */
async function freePort(): Promise<number> {
  const last = Number(await readFile(portFile, 'utf8').catch(() => '0'));
  // A server that was just killed holds its port a little longer.
  for (let waited = 0; last > 0 && waited < 1_000; waited += 50) {
    const port = await bound(last);
    if (port !== undefined) return port;
    await sleep(50);
  }
  return (await bound(0)) ?? 0;
}

async function bound(wanted: number): Promise<number | undefined> {
  const probe = createServer();
  const free = new Promise<void>((resolve, reject) => {
    probe.once('error', reject).listen(wanted, '127.0.0.1', resolve);
  });
  if (await free.then(() => false, () => true)) return undefined; // prettier-ignore
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

async function open(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
}
