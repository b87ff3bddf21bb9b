import type { Client as Connection, ClientChannel } from 'ssh2';
import {
  type Command,
  type Outcome,
  type Running,
  Output,
  defaultMaxBytes,
  entered,
  neverStarted,
  quoted,
} from './shell.ts';

/**
 * The line that sshd hands to the user's login shell. The command first says its process group, after a mark that nobody
 * else knows, so that all of it can be ended: closing a channel ends nothing on the node, and sshd passes no signal on to
 * root's commands. `timeout` ends it there when we no longer can.
 */
export function remoteLine(command: Command, mark: string): string {
  const seconds = Math.ceil(command.deadlineMs / 1000) + 1;
  const bound = command.brief ? '' : `timeout -s KILL ${seconds} `;
  const launch = `echo "$1 $$" >&2; shift; exec ${bound}"$@"`;
  return ['exec', 'sh', '-c', quoted(launch), 'sh', mark, ...entered(command).map(quoted)].join(' ');
}

/** More than this no login shell has to say before it starts a command. */
const mostGreeting = 64 << 10;

/** One command on its own channel of a connection. */
export class SshRun implements Running {
  readonly done: Promise<Outcome>;
  /** Settles when the node has closed the channel: then nothing of the command is left that holds its output. */
  readonly gone: Promise<void>;
  private readonly connection: Connection;
  private readonly channel: ClientChannel;
  private readonly mark: string;
  private readonly output: Output;
  private head = Buffer.alloc(0);
  private group: number | undefined;
  private ended = '';
  private code: number | null | undefined;
  private settle: () => void = () => {};

  constructor(
    connection: Connection,
    channel: ClientChannel,
    command: Command,
    mark: string,
    onStdout?: (text: string) => void,
  ) {
    this.connection = connection;
    this.channel = channel;
    this.mark = mark;
    const maxBytes = command.maxBytes ?? defaultMaxBytes;
    this.output = new Output(maxBytes, () => this.stop(`it printed more than ${maxBytes} bytes`));
    channel.on('data', (chunk: Buffer) => {
      const text = this.output.add('stdout', chunk);
      onStdout?.(text);
    });
    channel.stderr.on('data', (chunk: Buffer) => this.stderr(chunk));
    channel.on('error', () => {});
    channel.on('exit', (status: number | null) => {
      this.code = status ?? 137;
    });
    const timer = setTimeout(() => this.stop(`no end after ${command.deadlineMs} ms`), command.deadlineMs);
    const cancel = (): void => this.stop('it was cancelled');
    command.signal?.addEventListener('abort', cancel, { once: true });
    this.done = new Promise<Outcome>((resolve) => {
      this.settle = () => {
        clearTimeout(timer);
        command.signal?.removeEventListener('abort', cancel);
        resolve(this.outcome());
      };
    });
    this.gone = new Promise((resolve) => {
      channel.on('close', () => {
        this.settle();
        resolve();
      });
    });
    if (command.signal?.aborted) cancel();
  }

  write(text: string): void {
    this.channel.write(text);
  }
  end(): void {
    this.channel.end();
  }
  kill(): void {
    this.stop('it was ended');
  }

  private outcome(): Outcome {
    if (this.group === undefined) this.output.add('stderr', this.head);
    const { stdout, stderr } = this.output;
    if (this.ended) return { kind: 'unknown', why: this.ended, stdout };
    if (this.code === undefined || this.code === null)
      return { kind: 'unknown', why: 'the connection was lost before the command ended', stdout };
    if (neverStarted(this.code, stderr)) return { kind: 'failed', why: stderr.trim() };
    return { kind: 'exited', code: this.code, stdout, stderr };
  }

  /** The first line of stderr is the launcher's; what a login shell prints before it is kept. */
  private stderr(chunk: Buffer): void {
    if (this.group !== undefined) {
      this.output.add('stderr', chunk);
      return;
    }
    if (this.head.length > mostGreeting) return this.stop('the login shell there prints without end');
    this.head = Buffer.concat([this.head, chunk]);
    const start = this.head.indexOf(this.mark);
    const end = this.head.indexOf('\n', Math.max(0, start));
    if (start < 0 || end < 0) return;
    this.group = Number(this.head.subarray(start + this.mark.length, end).toString());
    this.output.add('stderr', Buffer.concat([this.head.subarray(0, start), this.head.subarray(end + 1)]));
    if (this.ended) endGroup(this.connection, this.group, () => this.channel.close());
  }

  private stop(why: string): void {
    this.ended ||= why;
    this.settle();
    if (this.group !== undefined) endGroup(this.connection, this.group, () => this.channel.close());
  }
}

/** Ends all of a command on the node. @param then when that is done, or could not be */
export function endGroup(connection: Connection, group: number, then = (): void => {}): void {
  try {
    connection.exec(`exec sh -c 'kill -s KILL -- -${group}'`, (_, channel) => {
      channel?.on('close', then).resume();
      if (!channel) then();
    });
  } catch {
    // The connection is gone; the node's own `timeout` ends the command.
  }
}
