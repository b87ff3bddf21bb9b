import type { Client as Connection, ClientChannel } from 'ssh2';
import { type Command, type Outcome, type Running, Output, bounded, defaultMaxBytes, neverStarted } from './shell.ts';
import { endGroup } from './ssh-run.ts';

/** So long it waits on the node for the next reading. */
const idleMs = 5 * 60_000;

/**
 * A brief script that stays on a node and runs again for each line it is sent: a reading then costs no session and no login
 * shell there, which is half of its time. One reading at a time, all in one shell: the script has to set what it reads,
 * leave stdin alone, and not exit. It ends when its stdin does, with the connection at last.
 */
export class Resident {
  /** What it can run: `sh -c SCRIPT NAME WORDS`, with words that no shell reads as anything else. */
  static fits({ argv: [sh, option, , , ...words], brief, netns, pid }: Command): boolean {
    const plain = words.every((word) => /^[\w.-]+$/.test(word));
    return brief === true && netns === undefined && pid === undefined && sh === 'sh' && option === '-c' && plain;
  }

  /** Settles when nothing of it is left on the node that holds its output. */
  readonly gone: Promise<void>;
  private left: () => void = () => {};
  private readonly connection: Connection;
  private readonly script: string;
  private readonly mark: string;
  private channel: ClientChannel | undefined;
  private head = Buffer.alloc(0);
  private group: number | undefined;
  private reading: Reading | undefined;
  private turns = 0;
  private over = false;
  private code: number | null | undefined;
  private idle: NodeJS.Timeout | undefined;

  /**
   * @param mark a word that nobody else knows
   * @param refused what it means for a command that the node does not open the session
   */
  constructor(connection: Connection, script: string, mark: string, refused: (error: Error) => Outcome) {
    this.connection = connection;
    this.script = script;
    this.mark = mark;
    this.gone = new Promise((resolve) => (this.left = resolve));
    connection.exec(residentLine(script, mark), (error, channel) => {
      if (error) {
        this.end(refused(error));
        this.left();
      } else this.opened(channel);
    });
  }

  get busy(): boolean {
    return this.reading !== undefined;
  }

  /** Whether it can run a command. */
  takes(connection: Connection, { argv }: Command): boolean {
    return !this.over && this.connection === connection && this.script === argv[2];
  }

  run(command: Command): Running {
    clearTimeout(this.idle);
    const reading = new Reading(command, `${this.mark}-${++this.turns}`, () => this.end());
    this.reading = reading;
    this.channel?.write(reading.line);
    const done = reading.done.finally(() => {
      this.reading = undefined;
      this.idle = setTimeout(() => this.end(), idleMs).unref();
    });
    return { write: () => {}, end: () => {}, kill: () => reading.stop('it was ended'), done };
  }

  /** Ends it, and what it still runs. @param outcome of that; left out: nobody knows */
  end(outcome: Outcome = lost): void {
    this.over = true;
    clearTimeout(this.idle);
    this.reading?.settle(outcome);
    this.channel?.end();
    if (this.reading && this.group !== undefined) endGroup(this.connection, this.group);
  }

  private opened(channel: ClientChannel): void {
    this.channel = channel;
    channel.on('data', (chunk: Buffer) => this.reading?.hear('stdout', chunk));
    channel.stderr.on('data', (chunk: Buffer) => this.stderr(chunk));
    channel.on('error', () => {});
    channel.on('exit', (status: number | null) => {
      this.code = status;
    });
    channel.on('close', () => {
      this.end(this.ended());
      this.left();
    });
    if (this.over) channel.end();
    else if (this.reading) channel.write(this.reading.line);
  }

  /** A shell that ends by itself has a status, and may have said why: a login that is not allowed, say. */
  private ended(): Outcome {
    const { code, reading } = this;
    if (code === undefined || code === null || !reading) return lost;
    const outcome = reading.exited(code, this.group === undefined ? this.head.toString() : '');
    return neverStarted(code, outcome.stderr) ? { kind: 'failed', why: outcome.stderr.trim() } : outcome;
  }

  /** The line with the process group comes after what a login shell may print. */
  private stderr(chunk: Buffer): void {
    if (this.group !== undefined) return this.reading?.hear('stderr', chunk);
    this.head = Buffer.concat([this.head, chunk]).subarray(-mostHead);
    const start = this.head.indexOf(`${this.mark} `);
    const end = this.head.indexOf('\n', start);
    if (start < 0 || end < 0) return;
    this.group = Number(this.head.subarray(start + this.mark.length, end).toString());
    this.reading?.hear('stderr', this.head.subarray(end + 1));
    if (this.over) endGroup(this.connection, this.group);
  }
}

/**
 * The line for the login shell, which may be csh or fish: what these read otherwise than sh inside quotes stands there as
 * an octal number, which printf turns back.
 */
function residentLine(script: string, mark: string): string {
  const loop = `echo "${mark} $$" >&2
while read -r turn words; do
set -f; set -- $words
${script}
over="
$turn $?"
echo "$over" >&2
echo "$over"
done`;
  const plain = loop.replaceAll(/[\\'!\n]/g, (char) => `\\0${char.charCodeAt(0).toString(8).padStart(3, '0')}`);
  return `exec sh -c 'eval "$(printf %b "$1")"' sh '${plain}'`;
}

const mostHead = 1 << 12;
const lost: Outcome = { kind: 'unknown', why: 'the connection was lost before the command ended', stdout: '' };

/** One run of the script. */
class Reading {
  readonly line: string;
  readonly done: Promise<Outcome>;
  private readonly output: Output;
  private readonly over: RegExp;
  private readonly last = { stdout: '', stderr: '' };
  private readonly broken: () => void;
  readonly settle: (outcome: Outcome) => void;

  constructor({ argv, maxBytes = defaultMaxBytes, ...limits }: Command, turn: string, broken: () => void) {
    this.line = `${[turn, ...argv.slice(4)].join(' ')}\n`;
    this.over = new RegExp(`\\n${turn} (\\d+)\\n$`);
    this.broken = broken;
    this.output = new Output(maxBytes, () => this.stop(`it printed more than ${maxBytes} bytes`));
    const { done, settle } = bounded(limits, (why) => this.stop(why));
    this.done = done;
    this.settle = settle;
  }

  hear(stream: 'stdout' | 'stderr', chunk: Buffer): void {
    const text = this.output.add(stream, chunk);
    // Both end with it: one may be ahead of the other. Only the last bytes are searched, not all of it for each piece.
    this.last[stream] = (this.last[stream] + text).slice(-mostTrailer);
    const end = this.over.exec(this.last.stdout);
    if (!end || !this.last.stderr.endsWith(end[0])) return;
    const { stdout, stderr } = this.output;
    const without = (all: string): string => all.slice(0, -end[0].length);
    this.settle({ kind: 'exited', code: Number(end[1]), stdout: without(stdout), stderr: without(stderr) });
  }

  /** The script has ended its shell. @param head what the node said before the script began */
  exited(code: number, head: string): Extract<Outcome, { kind: 'exited' }> {
    const { stdout, stderr } = this.output;
    return { kind: 'exited', code, stdout, stderr: head + stderr };
  }

  /** What does not end takes the script with it. */
  stop(why: string): void {
    this.settle({ kind: 'unknown', why, stdout: this.output.stdout });
    this.broken();
  }
}

const mostTrailer = 80;
