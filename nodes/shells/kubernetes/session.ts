import { readFileSync } from 'node:fs';
import type { RequestOptions } from 'node:https';
import type { KubeConfig } from '@kubernetes/client-node';
import { WebSocket } from 'ws';
import { innermost } from '../../../domain/errors.ts';
import {
  type Command,
  type Outcome,
  type Running,
  Output,
  bounded,
  defaultMaxBytes,
  entered,
  neverStarted,
} from '../shell.ts';
import { ApiError } from './errors.ts';

const script = readFileSync(new URL('session.py', import.meta.url), 'utf8');
/** Takes the script from stdin: what is in argv stands in the API server's audit log. */
const bootstrap = 'import sys; b = sys.stdin.buffer; exec(b.read(int(b.readline())))';

const pingMs = 5_000;
/** So long may a ping stay unanswered: a cut connection says nothing by itself, for hours. */
const silentMs = 12_000;

/** The channels of the protocol. */
const stdin = 0;
const stdout = 1;
const stderr = 2;
const status = 3;
const protocol = 'v5.channel.k8s.io';

export interface Container {
  namespace: string;
  pod: string;
  container: string;
}

/** What the node says of one command. */
type Word = { id?: number; started?: true; failed?: string; out?: string; err?: string; exit?: number; late?: boolean };

/** One exec session with a pod, kept open and shared by any number of commands. */
export class ExecSession {
  private readonly socket: WebSocket;
  private readonly runs = new Map<number, SessionRun>();
  private beat: NodeJS.Timeout | undefined;
  private last = 0;
  private heard = performance.now();
  private rest = '';
  private said = '';
  /** Why it is over. */
  ended: string | undefined;

  private constructor(socket: WebSocket) {
    this.socket = socket;
    // Listens from the first moment: what comes with the handshake's last packet must not be missed.
    socket.on('message', (data: Buffer) => this.receive(data[0], data.subarray(1)));
    socket.on('pong', () => (this.heard = performance.now()));
    socket.on('error', () => {});
    socket.on('close', () => this.over('the connection was lost'));
  }

  /**
   * Opens a session and starts the node-side script in it.
   * @throws ApiError when the server refuses it or nothing answers in `ms`
   */
  static async open(config: KubeConfig, { namespace, pod, container }: Container, ms: number): Promise<ExecSession> {
    const query = new URLSearchParams({ container, stdin: 'true', stdout: 'true', stderr: 'true', tty: 'false' });
    for (const word of ['python3', '-I', '-u', '-c', bootstrap]) query.append('command', word);
    const server = (config.getCurrentCluster()?.server ?? '').replace(/^http/, 'ws').replace(/\/$/, '');
    const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(pod)}/exec?${query.toString()}`;
    const options: RequestOptions = {};
    await config.applyToHTTPSOptions(options);
    // The client library's own exec hides errors after the handshake, and cannot ping.
    const socket = new WebSocket(server + path, [protocol], { ...options, handshakeTimeout: ms });
    const session = new ExecSession(socket);
    await new Promise<void>((resolve, reject) => {
      socket.once('open', resolve);
      socket.once('error', (error) => reject(refusal(innermost(error), namespace, pod, ms)));
    }).catch((error: unknown) => {
      session.close();
      throw error;
    });
    session.heard = performance.now();
    session.beat = setInterval(() => session.pulse(), pingMs).unref();
    session.send(`${Buffer.byteLength(script)}\n${script}`);
    return session;
  }

  /** Commands of other sessions are unharmed when this one is ended. */
  start(command: Command, onStdout?: (text: string) => void): Running {
    const id = ++this.last;
    const run = new SessionRun(
      command,
      (order) => this.tell({ id, ...order }),
      () => this.runs.delete(id),
      onStdout,
    );
    this.runs.set(id, run);
    if (this.ended === undefined) {
      this.tell({ id, op: 'start', argv: entered(command), seconds: Math.ceil(command.deadlineMs / 1000) + 1 });
    } else run.lost(this.ended);
    return run;
  }

  close(): void {
    this.over('it was closed');
    this.socket.terminate();
  }

  private tell(order: object): void {
    if (this.ended === undefined) this.send(`${JSON.stringify(order)}\n`);
  }

  private send(text: string): void {
    this.socket.send(Buffer.concat([Buffer.from([stdin]), Buffer.from(text)]));
  }

  private pulse(): void {
    if (performance.now() - this.heard > silentMs) {
      this.over(`nothing was heard of the node for ${silentMs / 1000} s`);
      this.socket.terminate();
      return;
    }
    this.socket.ping();
    // The node-side script ends itself when nobody speaks to it any more.
    this.tell({ op: 'ping' });
  }

  private receive(channel: number | undefined, data: Buffer): void {
    this.heard = performance.now();
    if (channel === stdout) this.read(data.toString('latin1'));
    else if (channel === stderr) this.said = (this.said + data.toString()).slice(-500);
    else if (channel === status) this.over(this.said.trim().split('\n').at(-1) || 'the session ended on the node');
  }

  private read(text: string): void {
    const lines = (this.rest + text).split('\n');
    this.rest = lines.pop() ?? '';
    for (const line of lines) {
      const word = JSON.parse(line) as Word;
      if (word.id !== undefined) this.runs.get(word.id)?.hear(word);
    }
  }

  /** What ran there is ended by the node-side script; how far it got is not known here. */
  private over(why: string): void {
    this.ended ??= why;
    clearInterval(this.beat);
    for (const run of this.runs.values()) run.lost(this.ended);
    this.runs.clear();
  }
}

/** The handshake's failure, in words that say what to do. */
function refusal(text: string, namespace: string, pod: string, ms: number): ApiError {
  const code = Number(/Unexpected server response: (\d+)/.exec(text)?.[1] ?? 0);
  if (code === 401) return new ApiError('the API server does not know this user: log in again', code);
  if (code === 403)
    return new ApiError(
      `this account may not exec into ${namespace}/${pod}: it needs get and create on pods/exec there`,
      code,
    );
  if (code === 404) return new ApiError(`the pod ${namespace}/${pod} is gone`, code);
  if (code) return new ApiError(`the kubelet refuses a session with ${namespace}/${pod} (status ${code})`, code);
  if (/handshake has timed out/.test(text)) return new ApiError(`no new session within ${ms / 1000} s`);
  return new ApiError(text);
}

/** One command of a session. */
class SessionRun implements Running {
  readonly done: Promise<Outcome>;
  private readonly output: Output;
  private readonly tell: (order: object) => void;
  private readonly onStdout: ((text: string) => void) | undefined;
  private readonly settle: (outcome: Outcome) => void;
  private ended = '';

  constructor(
    { maxBytes = defaultMaxBytes, ...limits }: Command,
    tell: (order: object) => void,
    gone: () => void,
    onStdout?: (text: string) => void,
  ) {
    this.tell = tell;
    this.onStdout = onStdout;
    this.output = new Output(maxBytes, () => this.stop(`it printed more than ${maxBytes} bytes`));
    const { done, settle } = bounded(limits, (why) => this.stop(why));
    this.done = done;
    this.settle = (outcome) => {
      gone();
      settle(outcome);
    };
  }

  write(text: string): void {
    this.tell({ op: 'in', data: text });
  }
  end(): void {
    this.tell({ op: 'end' });
  }
  kill(): void {
    this.stop('it was ended');
  }

  hear({ failed, out, err, exit, late }: Word): void {
    const { output } = this;
    if (out !== undefined) {
      const text = output.add('stdout', Buffer.from(out, 'base64'));
      this.onStdout?.(text);
    }
    if (err !== undefined) output.add('stderr', Buffer.from(err, 'base64'));
    if (failed !== undefined) this.settle({ kind: 'failed', why: failed });
    if (exit === undefined) return;
    const { stdout: text, stderr: complaint } = output;
    if (this.ended || late) this.settle({ kind: 'unknown', why: this.ended || 'its time was over', stdout: text });
    else if (neverStarted(exit, complaint)) this.settle({ kind: 'failed', why: complaint.trim() });
    else this.settle({ kind: 'exited', code: exit, stdout: text, stderr: complaint });
  }

  lost(why: string): void {
    this.settle({ kind: 'unknown', why: this.ended || why, stdout: this.output.stdout });
  }

  private stop(why: string): void {
    if (this.ended) return;
    this.ended = why;
    this.tell({ op: 'kill' });
    // Nobody waits for a node that does not answer.
    this.settle({ kind: 'unknown', why, stdout: this.output.stdout });
  }
}
