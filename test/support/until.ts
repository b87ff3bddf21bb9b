import { readFileSync, readdirSync } from 'node:fs';
import { createConnection } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** Waits until a condition gives something true, which is returned. @throws Error that names it after the deadline */
export async function until<T>(
  what: string,
  condition: () => T | Promise<T>,
  deadlineMs = 5_000,
): Promise<NonNullable<T>> {
  const end = Date.now() + deadlineMs;
  for (;;) {
    const value = await condition();
    if (value) return value;
    if (Date.now() > end) throw new Error(`not within ${deadlineMs} ms: ${what}`);
    await sleep(20);
  }
}

/** Waits until somebody listens on a port of this machine. */
export const answers = async (port: number): Promise<boolean> =>
  until(`port ${port} answers`, async () => new Promise<boolean>((resolve) => {
    const socket = createConnection(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  }), 30_000); // prettier-ignore

/** Processes of this machine whose command line contains a text, other than this one. */
export const processesWith = (text: string): number[] =>
  pids().filter((pid) => pid !== process.pid && read(`/proc/${pid}/cmdline`).includes(text));

export const childrenOf = (parent: number): number[] =>
  pids().filter((pid) => new RegExp(`^${pid} \\(.*\\) [^Z] ${parent} `, 's').test(read(`/proc/${pid}/stat`)));

const pids = (): number[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return ''; // it ended in between
  }
}
