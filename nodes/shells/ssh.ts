import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import ssh2, {
  type Client as Connection,
  type ClientChannel,
  type ConnectConfig,
  type ServerHostKeyAlgorithm,
} from 'ssh2';
import type { SshSpec } from '../../domain/inventory.ts';
import { knownHost } from './known-hosts.ts';
import {
  type Command,
  type Outcome,
  type Running,
  type Shell,
  Output,
  defaultMaxBytes,
  entered,
  quoted,
} from './shell.ts';

/** How long a node may take to let us in: beyond this it is named as unreachable. */
const connectMs = 8_000;

const home = (path: string): string => path.replace(/^~(?=\/)/, homedir());

/** Runs commands over one kept ssh connection; it is made at first use and again after it was lost. */
export class SshShell implements Shell {
  private readonly spec: SshSpec;
  private connection: Promise<Connection> | undefined;

  constructor(spec: SshSpec) {
    this.spec = spec;
  }

  async start(command: Command, onStdout?: (text: string) => void): Promise<Running> {
    let channel: ClientChannel;
    try {
      const connection = await this.connected();
      channel = await new Promise<ClientChannel>((resolve, reject) => {
        const late = setTimeout(
          () => reject(new Error('the node opens no session')),
          Math.min(connectMs, command.deadlineMs),
        );
        connection.exec(remoteLine(command), (error, opened) => {
          clearTimeout(late);
          if (error) reject(error);
          else resolve(opened);
        });
      });
    } catch (error) {
      // Once the exec request is out, only a refusal says that the command did not run; a lost connection is unknown.
      const why = `ssh ${this.spec.user}@${this.spec.host}:${this.spec.port}: ${message(error)}`;
      return { write: () => {}, end: () => {}, kill: () => {}, done: Promise.resolve({ kind: 'failed', why }) };
    }
    return new SshRun(channel, command, onStdout);
  }

  close(): void {
    void this.connection?.then((connection) => connection.end()).catch(() => {});
    this.connection = undefined;
  }

  private connected(): Promise<Connection> {
    this.connection ??= this.connect().catch((error: unknown) => {
      this.connection = undefined;
      throw error;
    });
    return this.connection;
  }

  private async connect(): Promise<Connection> {
    const { host, port, user, identity, knownHosts } = this.spec;
    const text = await readFile(home(knownHosts), 'utf8').catch(() => '');
    const known = knownHost(text, host, port);
    if (known.types.length === 0)
      throw new Error(`no key of this host in ${knownHosts}; log in once with ssh to check and store it`);
    let mismatch = false;
    const config: ConnectConfig = {
      host,
      port,
      username: user,
      readyTimeout: connectMs,
      keepaliveInterval: 5_000,
      keepaliveCountMax: 2,
      hostVerifier: (key: Buffer) => {
        mismatch = !known.matches(key);
        return !mismatch;
      },
      algorithms: { serverHostKey: known.types.flatMap(signatures) },
      ...(identity ? { privateKey: await readFile(home(identity)) } : { agent: process.env['SSH_AUTH_SOCK'] ?? '' }),
    };
    const connection = new ssh2.Client();
    await new Promise<void>((resolve, reject) => {
      connection.on('ready', resolve);
      connection.on('error', (error) =>
        reject(mismatch ? new Error(`the host shows another key than ${knownHosts} has; nothing was sent`) : error),
      );
      connection.connect(config);
    });
    const lost = (): void => {
      this.connection = undefined;
    };
    connection.on('close', lost).on('error', lost);
    return connection;
  }
}

/** An RSA host key signs with SHA-2 today; its type in known_hosts still says ssh-rsa. */
const signatures = (type: string): ServerHostKeyAlgorithm[] =>
  (type === 'ssh-rsa' ? ['rsa-sha2-512', 'rsa-sha2-256'] : [type]) as ServerHostKeyAlgorithm[];

/** sshd hands this line to the user's login shell. `timeout` ends the command on the node when we no longer can. */
function remoteLine(command: Command): string {
  const seconds = Math.ceil(command.deadlineMs / 1000) + 1;
  return `exec timeout -s KILL ${seconds} ${entered(command).map(quoted).join(' ')}`;
}

const message = (error: unknown): string => (error instanceof Error ? error.message : String(error));

class SshRun implements Running {
  readonly done: Promise<Outcome>;
  private readonly channel: ClientChannel;
  private ended = '';
  private settle: () => void = () => {};

  constructor(channel: ClientChannel, command: Command, onStdout?: (text: string) => void) {
    this.channel = channel;
    const maxBytes = command.maxBytes ?? defaultMaxBytes;
    const output = new Output(maxBytes, () => this.stop(`it printed more than ${maxBytes} bytes`));
    let code: number | null | undefined;
    channel.on('data', (chunk: Buffer) => {
      const text = output.add('stdout', chunk);
      onStdout?.(text);
    });
    channel.stderr.on('data', (chunk: Buffer) => output.add('stderr', chunk));
    channel.on('error', () => {});
    const timer = setTimeout(() => this.stop(`no end after ${command.deadlineMs} ms`), command.deadlineMs);
    const cancel = (): void => this.stop('it was cancelled');
    command.signal?.addEventListener('abort', cancel, { once: true });
    this.done = new Promise<Outcome>((resolve) => {
      channel.on('exit', (status: number | null) => {
        code = status ?? 137;
      });
      this.settle = () => {
        clearTimeout(timer);
        command.signal?.removeEventListener('abort', cancel);
        if (this.ended) resolve({ kind: 'unknown', why: this.ended, stdout: output.stdout });
        else if (code === undefined)
          resolve({ kind: 'unknown', why: 'the connection was lost before the command ended', stdout: output.stdout });
        else if (code === 127 && !output.stdout)
          resolve({ kind: 'failed', why: output.stderr.trim() || 'no such program' });
        else resolve({ kind: 'exited', code: code ?? 137, stdout: output.stdout, stderr: output.stderr });
      };
      channel.on('close', this.settle);
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

  private stop(why: string): void {
    this.ended ||= why;
    this.channel.signal('KILL');
    this.channel.close();
    this.settle();
  }
}
