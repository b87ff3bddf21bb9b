import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import pg from 'pg';
import { root } from './imports.ts';
import { until } from './until.ts';

/** A PostgreSQL server of Debian in a folder of its own. */
export class Postgres {
  readonly url: string;
  private readonly folder: string;
  private child: ChildProcess | undefined;
  private log = '';

  /** @param folder is made; nobody else's */
  constructor(folder: string) {
    this.folder = folder;
    this.url = `postgres://postgres@/postgres?host=${encodeURIComponent(folder)}`;
  }

  async open(): Promise<void> {
    const child = spawn('sh', [join(root, 'lab/postgres/run.sh'), this.folder], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    child.stderr.on('data', (chunk: Buffer) => (this.log += chunk.toString()));
    this.child = child;
    await until('PostgreSQL answers', async () => {
      if (child.exitCode !== null) throw new Error(`PostgreSQL ended: ${this.log}`);
      return this.query('select 1 as one').catch(() => undefined);
    }, 60_000); // prettier-ignore
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
    if (!child || child.exitCode !== null) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGINT'); // fast shutdown
    await gone;
  }
}
