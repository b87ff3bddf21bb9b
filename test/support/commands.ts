import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { root } from './imports.ts';
import { until } from './until.ts';

/** One `undrop` command as a process of its own. */
export class Command {
  stdout = '';
  stderr = '';
  readonly pid: number;
  /** Its exit code, or the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals | null>;
  private readonly child: ChildProcess;

  constructor(words: string[], env: NodeJS.ProcessEnv) {
    const argv = ['--disable-warning=ExperimentalWarning', join(root, 'cli/main.ts'), ...words];
    this.child = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'pipe'], env });
    this.pid = this.child.pid ?? 0;
    this.child.stdout?.on('data', (chunk: Buffer) => (this.stdout += chunk.toString()));
    this.child.stderr?.on('data', (chunk: Buffer) => (this.stderr += chunk.toString()));
    this.ended = new Promise((resolve) => this.child.once('close', (code, signal) => resolve(code ?? signal)));
  }

  kill(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** Waits until it has printed a text. @throws Error with all it said when it ended without */
  async says(text: string, deadlineMs = 60_000): Promise<void> {
    await until(`undrop says "${text}"`, () => {
      if (this.stdout.includes(text)) return true;
      if (this.child.exitCode === null) return false;
      throw new Error(`undrop ended with ${this.child.exitCode}: ${this.stdout}${this.stderr}`);
    }, deadlineMs); // prettier-ignore
  }
}

/** The commands of one test file; `end` kills those that still run. */
export class Commands {
  private readonly started: Command[] = [];

  start(words: string[], env: NodeJS.ProcessEnv = {}): Command {
    const { NODE_OPTIONS: _, ...inherited } = process.env;
    const command = new Command(words, { ...inherited, NO_COLOR: '1', ...env });
    this.started.push(command);
    return command;
  }

  async end(): Promise<void> {
    for (const command of this.started) command.kill('SIGKILL');
    await Promise.all(this.started.splice(0).map(({ ended }) => ended));
  }
}
