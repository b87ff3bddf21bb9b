import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import ssh2, { type Client as Connection, type ConnectConfig, type ServerHostKeyAlgorithm } from 'ssh2';
import type { SshSpec } from '../../domain/inventory.ts';
import { knownHost } from './known-hosts.ts';
import { Resident } from './ssh-resident.ts';
import type { Command, Outcome, Running, Shell } from './shell.ts';
import { SshRun, remoteLine } from './ssh-run.ts';

/** How long a node may take to let us in: beyond this it is named as unreachable. */
const connectMs = 8_000;
/** How long closing waits until the node has ended what still ran there. */
const farewellMs = 1_000;

const home = (path: string): string => path.replace(/^~(?=\/)/, homedir());

interface Opening {
  mark: string;
  patience: number;
  onStdout: ((text: string) => void) | undefined;
}

/** Runs commands over one kept ssh connection; it is made at first use and again after it was lost. */
export class SshShell implements Shell {
  private readonly spec: SshSpec;
  private readonly running = new Set<SshRun>();
  private resident: Resident | undefined;
  private connection: Promise<Connection> | undefined;
  /** Set while the connection is being made. */
  private connecting: Connection | undefined;

  constructor(spec: SshSpec) {
    this.spec = spec;
  }

  async start(command: Command, onStdout?: (text: string) => void): Promise<Running> {
    const patience = Math.min(connectMs, command.deadlineMs);
    let connection: Connection;
    try {
      connection = await inTime(this.connected(), patience, command.signal);
    } catch (error) {
      return this.over('failed', message(error));
    }
    const mark = randomBytes(8).toString('hex');
    if (onStdout === undefined && Resident.fits(command)) {
      const resident = this.residentFor(connection, command, mark);
      if (resident) return resident.run(command);
    }
    const open = async (): Promise<Running | Error> => this.exec(connection, command, { mark, patience, onStdout });
    let run = await open();
    // A node may allow few sessions: one that only waits for the next reading is not worth one.
    if (run instanceof Error && this.resident && !this.resident.busy) {
      this.resident.end();
      await Promise.race([this.resident.gone, sleep(farewellMs)]);
      this.resident = undefined;
      // sshd counts a closed session until its next round, and a refused command certainly did not run.
      for (const end = Date.now() + farewellMs; run instanceof Error && Date.now() < end; run = await open())
        await sleep(20);
    }
    return run instanceof Error ? this.over('failed', message(run)) : run;
  }

  /** @returns an Error where the node refuses the session: the command certainly did not run */
  private async exec(
    connection: Connection,
    command: Command,
    { mark, patience, onStdout }: Opening,
  ): Promise<Running | Error> {
    return new Promise((resolve) => {
      let tooLate = false;
      const late = setTimeout(() => {
        tooLate = true;
        resolve(this.over('unknown', 'the node opens no session'));
      }, patience);
      try {
        connection.exec(remoteLine(command, mark), (error, channel) => {
          clearTimeout(late);
          if (error) return resolve(refused(error) ? error : this.over('unknown', message(error)));
          // Here and not after an await: a short command may end within the same packet.
          const run = new SshRun(connection, channel, command, mark, onStdout);
          this.running.add(run);
          void run.gone.finally(() => this.running.delete(run));
          if (tooLate) run.kill();
          resolve(run);
        });
      } catch (error) {
        clearTimeout(late);
        resolve(this.over('failed', message(error)));
      }
    });
  }

  /** One that runs this script and has nothing to do; a busy one is left alone. */
  private residentFor(connection: Connection, command: Command, mark: string): Resident | undefined {
    if (this.resident?.busy) return undefined;
    if (this.resident?.takes(connection, command)) return this.resident;
    this.resident?.end();
    const closed = (error: Error): Outcome => this.ended(refused(error) ? 'failed' : 'unknown', message(error));
    try {
      this.resident = new Resident(connection, command.argv[2] ?? '', mark, closed);
    } catch {
      this.resident = undefined; // the connection is gone, and the command's own session will say so
    }
    return this.resident;
  }

  close(): void {
    const ending = [...this.running].map((run) => {
      run.kill();
      return run.gone;
    });
    if (this.resident?.busy) ending.push(this.resident.gone);
    this.resident?.end();
    void this.connection
      ?.then(async (connection) => {
        if (ending.length > 0) await Promise.race([Promise.all(ending), sleep(farewellMs)]);
        connection.end();
      })
      .catch(() => {});
    this.connecting?.destroy();
    this.connection = undefined;
  }

  private ended(kind: 'failed' | 'unknown', reason: string): Outcome {
    const why = `ssh ${this.spec.user}@${this.spec.host}:${this.spec.port}: ${reason}`;
    return kind === 'failed' ? { kind, why } : { kind, why, stdout: '' };
  }

  private over(kind: 'failed' | 'unknown', reason: string): Running {
    const done = Promise.resolve(this.ended(kind, reason));
    return { write: () => {}, end: () => {}, kill: () => {}, done };
  }

  private connected(): Promise<Connection> {
    if (this.connection) return this.connection;
    const made = this.connect();
    this.connection = made;
    const lost = (): void => {
      if (this.connection === made) this.connection = undefined;
    };
    made.then((connection) => connection.on('close', lost).on('error', lost), lost);
    return made;
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
    this.connecting = connection;
    await new Promise<void>((resolve, reject) => {
      connection.on('ready', resolve);
      connection.on('error', (error) =>
        reject(mismatch ? new Error(`the host shows another key than ${knownHosts} has; nothing was sent`) : error),
      );
      connection.on('close', () => reject(new Error('the node closed the connection')));
      connection.connect(config);
      // ssh2 writes a packet in two pieces, of which the kernel holds the second back until the node has acknowledged the
      // first, which takes it 40 ms: a command with stdin took 134 ms, and takes 6.
      connection.setNoDelay(true);
    }).finally(() => {
      this.connecting = undefined;
    });
    return connection;
  }
}

/** An RSA host key signs with SHA-2 today; its type in known_hosts still says ssh-rsa. */
const signatures = (type: string): ServerHostKeyAlgorithm[] =>
  (type === 'ssh-rsa' ? ['rsa-sha2-512', 'rsa-sha2-256'] : [type]) as ServerHostKeyAlgorithm[];

/** Only the node's own refusal says that a command did not run; when the connection is lost meanwhile, nobody knows. */
const refused = (error: Error): boolean => 'reason' in error || error.message === 'Unable to exec';

const message = (error: unknown): string => (error instanceof Error ? error.message : String(error));

async function inTime<T>(promise: Promise<T>, ms: number, signal?: AbortSignal): Promise<T> {
  let stop = (): void => {};
  const given = new Promise<never>((_, reject) => {
    const timer = setTimeout(() => reject(new Error(`no connection within ${ms} ms`)), ms);
    const cancel = (): void => reject(new Error('it was cancelled'));
    signal?.addEventListener('abort', cancel, { once: true });
    if (signal?.aborted) cancel();
    stop = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', cancel);
    };
  });
  return Promise.race([promise, given]).finally(() => stop());
}
