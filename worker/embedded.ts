import { spawn } from 'node:child_process';
import { openSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { type Socket, createConnection } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type Progress, temporalBinary } from './binary.ts';
import { dataFolder, keeperSocket, tokenFile } from './paths.ts';

const startMs = 30_000;

/** This user's own Temporal server, held open until `close`. */
export interface Embedded {
  address: string;
  close(): void;
}

/**
 * Joins the server that another command has started, or starts it. A keeper that is killed meanwhile is started again,
 * and its server comes back at the same address, where clients and workers reconnect by themselves.
 * @throws Error when there is no way to have one
 */
export async function embeddedServer(progress: Progress): Promise<Embedded> {
  const data = dataFolder();
  const { address, ...first } = await joinOrStart(data, progress);
  let { socket } = first;
  let closed = false;
  const hold = (): void => {
    socket.unref().once('close', () => {
      if (!closed) void joinOrStart(data, () => {}).then(again, () => {}); // then every call says that the server is gone
    });
  };
  const again = (joined: Joined): void => {
    socket = joined.socket;
    if (closed) socket.destroy();
    else hold();
  };
  hold();
  return {
    address,
    close: () => {
      closed = true;
      socket.destroy();
    },
  };
}

interface Joined {
  address: string;
  socket: Socket;
}

async function joinOrStart(data: string, progress: Progress): Promise<Joined> {
  const until = Date.now() + startMs;
  let binary: string | undefined;
  for (;;) {
    const server = await joined(data);
    if (server) return server;
    binary ??= await temporalBinary(progress);
    if (Date.now() > until && binary) throw new Error(`the Temporal server does not start; see ${data}/keeper.log`);
    await startKeeper(data, binary);
    await sleep(100);
  }
}

async function startKeeper(data: string, binary: string): Promise<void> {
  await mkdir(data, { recursive: true, mode: 0o700 });
  const log = openSync(join(data, 'keeper.log'), 'a', 0o600);
  const keeper = fileURLToPath(new URL('keeper.ts', import.meta.url));
  const child = spawn(process.execPath, [keeper, data, binary], { detached: true, stdio: ['ignore', log, log] });
  child.unref();
  // A keeper that finds another one ends at once, which is as good.
  await sleep(50);
}

/** Undefined when no keeper listens. @throws Error with the keeper's reason when its server does not start */
async function joined(data: string): Promise<Joined | undefined> {
  const socket = createConnection(keeperSocket(data));
  const connected = await new Promise<boolean>((resolve) => {
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
  });
  if (!connected) return undefined;
  const line = await firstLine(socket);
  if (line === undefined) return undefined;
  const told = JSON.parse(line) as { token?: string; address?: string; error?: string };
  const wanted = await readFile(tokenFile(data), 'utf8').catch(() => '');
  if (told.token === undefined || told.token !== wanted)
    throw new Error(`somebody else listens where the keeper of ${data} should; nothing was sent there`);
  if (told.address === undefined) throw new Error(told.error ?? 'the keeper says nothing');
  return { address: told.address, socket };
}

async function firstLine(socket: Socket): Promise<string | undefined> {
  return new Promise((resolve) => {
    let text = '';
    const done = (line: string | undefined): void => resolve(line);
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      if (text.includes('\n')) done(text.slice(0, text.indexOf('\n')));
    });
    socket.on('close', () => done(undefined)).on('error', () => done(undefined));
  });
}
