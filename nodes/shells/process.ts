import { $, type ProcessPromise } from 'zx';
import {
  type Command,
  type Outcome,
  type Running,
  type Shell,
  Output,
  defaultMaxBytes,
  entered,
  neverStarted,
  quoted,
} from './shell.ts';

/** Runs commands on this machine, optionally always inside one of its network namespaces. */
export class ProcessShell implements Shell {
  private readonly netns: string | undefined;
  private readonly running = new Set<Running>();

  constructor(netns?: string) {
    this.netns = netns;
  }

  async start(command: Command, onStdout?: (text: string) => void): Promise<Running> {
    const inside = command.netns !== undefined || command.pid !== undefined;
    const argv = entered(inside || this.netns === undefined ? command : { ...command, netns: this.netns });
    // `exec` leaves no shell behind, and `detached` gives the command a process group that can be ended as a whole:
    // zx's own `signal` option would end only its first process (see the orphan tests).
    const child = $({
      shell: '/bin/sh',
      prefix: 'exec ',
      postfix: '',
      quote: quoted,
      detached: true,
      nothrow: true,
      quiet: true,
      stdio: 'pipe',
    })`${argv}`;
    const running = new ProcessRun(child, command, onStdout);
    this.running.add(running);
    void running.done.finally(() => this.running.delete(running));
    return running;
  }

  close(): void {
    for (const running of this.running) running.kill();
  }
}

class ProcessRun implements Running {
  readonly done: Promise<Outcome>;
  private readonly child: ProcessPromise;
  private ended = '';

  constructor(child: ProcessPromise, command: Command, onStdout?: (text: string) => void) {
    this.child = child;
    const maxBytes = command.maxBytes ?? defaultMaxBytes;
    const output = new Output(maxBytes, () => this.stop(`it printed more than ${maxBytes} bytes`));
    child.stdout.on('data', (chunk: Buffer) => {
      const text = output.add('stdout', chunk);
      onStdout?.(text);
    });
    child.stderr.on('data', (chunk: Buffer) => output.add('stderr', chunk));
    // A command that ends before it has read its stdin makes our write fail; its exit status says what happened.
    child.stdin.on('error', () => {});
    const timer = setTimeout(() => this.stop(`no end after ${command.deadlineMs} ms`), command.deadlineMs);
    const cancel = (): void => this.stop('it was cancelled');
    command.signal?.addEventListener('abort', cancel, { once: true });
    if (command.signal?.aborted) cancel();
    this.done = child.then((result): Outcome => {
      clearTimeout(timer);
      command.signal?.removeEventListener('abort', cancel);
      if (this.ended) return { kind: 'unknown', why: this.ended, stdout: output.stdout };
      if (neverStarted(result.exitCode, output.stderr)) return { kind: 'failed', why: output.stderr.trim() };
      return { kind: 'exited', code: result.exitCode ?? 128, stdout: output.stdout, stderr: output.stderr };
    });
  }

  write(text: string): void {
    this.child.stdin.write(text);
  }
  end(): void {
    this.child.stdin.end();
  }
  kill(): void {
    this.stop('it was ended');
  }

  private stop(why: string): void {
    this.ended ||= why;
    try {
      if (this.child.pid) process.kill(-this.child.pid, 'SIGKILL');
    } catch {
      // the group is already gone, which is what was wanted
    }
  }
}
