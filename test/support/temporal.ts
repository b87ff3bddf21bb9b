import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { temporalBinary } from '../../worker/binary.ts';
import { answers } from './until.ts';

/** A Temporal server that nobody brings back but the test: at one address, with a database file that outlives it. */
export class Temporal {
  readonly address: string;
  private readonly port: number;
  private readonly folder: string;
  private child: ChildProcess | undefined;

  constructor(folder: string, port: number) {
    this.folder = folder;
    this.port = port;
    this.address = `127.0.0.1:${port}`;
  }

  async start(): Promise<void> {
    const argv = ['server', 'start-dev', '--ip', '127.0.0.1', '--port', String(this.port), '--headless', '--log-level', 'error',
      '--db-filename', join(this.folder, 'temporal.db'), '--sqlite-pragma', 'journal_mode=WAL']; // prettier-ignore
    this.child = spawn(await temporalBinary(() => {}), argv, { stdio: 'ignore' });
    await answers(this.port);
  }

  /** It takes connections, and answers nothing, until it is killed. */
  hang(): void {
    this.child?.kill('SIGSTOP');
  }

  async kill(): Promise<void> {
    const { child } = this;
    this.child = undefined;
    if (!child || child.exitCode !== null) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await gone;
  }
}
