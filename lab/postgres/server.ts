import { type ChildProcess, spawn } from 'node:child_process';
import { rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import pg from 'pg';
import { LabError } from '../lab.ts';

const run = fileURLToPath(new URL('run.sh', import.meta.url));
/** Making the database takes two seconds on a quiet machine. */
const startMs = 60_000;

/** A PostgreSQL server of Debian with a database of its own, on a socket in a folder; needs root. */
export class Postgres {
  readonly url: string;
  private readonly folder: string;
  private child: ChildProcess | undefined;

  /** @param folder is made, and removed at the end; nobody else's */
  constructor(folder: string) {
    this.folder = folder;
    this.url = `postgres://postgres@/postgres?host=${encodeURIComponent(folder)}`;
  }

  /** @throws LabError with what the server said when it does not start */
  async open(): Promise<void> {
    let said = '';
    const child = spawn('sh', [run, this.folder], { stdio: ['ignore', 'ignore', 'pipe'] });
    child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
    this.child = child;
    for (const end = Date.now() + startMs; ; await sleep(50)) {
      if (await this.query('select 1').then(() => true, () => false)) return; // prettier-ignore
      if (child.exitCode !== null || Date.now() > end) throw new LabError(`PostgreSQL does not start: ${said}`);
    }
  }

  async query(sql: string): Promise<unknown[]> {
    const client = new pg.Client({ connectionString: this.url });
    await client.connect();
    try {
      return (await client.query(sql)).rows;
    } finally {
      await client.end();
    }
  }

  async close(): Promise<void> {
    const { child } = this;
    if (child?.exitCode === null) {
      const gone = new Promise((resolve) => child.once('exit', resolve));
      child.kill('SIGINT'); // a fast shutdown, whoever is connected
      await gone;
    }
    await rm(this.folder, { recursive: true, force: true });
  }
}
