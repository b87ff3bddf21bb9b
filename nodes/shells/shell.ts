import { StringDecoder } from 'node:string_decoder';

/** A command for a node. Words are passed as they are: no word is ever read by a shell as anything but itself. */
export interface Command {
  argv: readonly string[];
  /** Enters this network namespace of the node first (a name under /run/netns, or a process id). */
  netns?: string;
  pid?: number;
  /** After this time the command and its children are ended and the outcome is `unknown`. */
  deadlineMs: number;
  /** Output beyond this ends the command: a node cannot flood the worker's memory. */
  maxBytes?: number;
  signal?: AbortSignal;
  /** It only reads, briefly, and ends by itself when nobody hears it: over ssh nothing on the node watches over it then. */
  brief?: true;
}

/**
 * How a command ended. `failed`: it certainly did not run. `unknown`: it may have run, wholly or in part; whoever sent a
 * change must read the node's real state before anything else.
 */
export type Outcome =
  | { kind: 'exited'; code: number; stdout: string; stderr: string }
  | { kind: 'failed'; why: string }
  | { kind: 'unknown'; why: string; stdout: string };

/** A command in progress whose stdin is open. */
export interface Running {
  write(text: string): void;
  end(): void;
  kill(): void;
  readonly done: Promise<Outcome>;
}

export interface Shell {
  start(command: Command, onStdout?: (text: string) => void): Promise<Running>;
  close(): void;
}

export const defaultMaxBytes = 1 << 20;

/** Runs one command to its end. Never throws for what happens on the node: that is in the outcome. */
export async function run(shell: Shell, command: Command, stdin = ''): Promise<Outcome> {
  const running = await shell.start(command);
  if (stdin) running.write(stdin);
  running.end();
  return running.done;
}

/** The whole argv, entering the namespace if there is one. nsenter leaves mounts alone, so paths mean what they meant. */
export function entered(command: Command): string[] {
  if (command.netns !== undefined) return ['nsenter', `--net=/run/netns/${command.netns}`, ...command.argv];
  if (command.pid !== undefined) return ['nsenter', `--target=${command.pid}`, '--net', ...command.argv];
  return [...command.argv];
}

/** A POSIX shell word that stands for exactly this text. */
export const quoted = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`;

/**
 * Whether a status 127 is the launcher's word that the program is not there. Any other 127 is the command's own: a script
 * in which one program was missing has run up to there.
 */
export const neverStarted = (code: number | null | undefined, stderr: string): boolean =>
  code === 127 &&
  /^[^\n]*(\bexec: .*not found|nsenter: (failed to execute|can't execute) .*|timeout: (failed to run command|can't execute) .*)$/.test(
    stderr.trimEnd(),
  );

/**
 * Holds a command to its deadline and its signal, until it is settled.
 * @param stop is told why it has to end
 */
export function bounded(
  { deadlineMs, signal }: Pick<Command, 'deadlineMs' | 'signal'>,
  stop: (why: string) => void,
): { done: Promise<Outcome>; settle: (outcome: Outcome) => void } {
  const { promise: done, resolve } = Promise.withResolvers<Outcome>();
  const timer = setTimeout(() => stop(`no end after ${deadlineMs} ms`), deadlineMs);
  const cancel = (): void => stop('it was cancelled');
  signal?.addEventListener('abort', cancel, { once: true });
  const settle = (outcome: Outcome): void => {
    clearTimeout(timer);
    signal?.removeEventListener('abort', cancel);
    resolve(outcome);
  };
  // Not before whoever asked has what is given here.
  if (signal?.aborted) queueMicrotask(cancel);
  return { done, settle };
}

/** Collects output up to a bound; `full` is called once, when it is exceeded. */
export class Output {
  stdout = '';
  stderr = '';
  private left: number;
  private readonly full: () => void;
  // A character may arrive in two pieces.
  private readonly decoders = { stdout: new StringDecoder('utf8'), stderr: new StringDecoder('utf8') };
  constructor(maxBytes: number, full: () => void) {
    this.left = maxBytes;
    this.full = full;
  }
  add(stream: 'stdout' | 'stderr', chunk: Buffer): string {
    const kept = this.decoders[stream].write(chunk.subarray(0, Math.max(0, this.left)));
    const overflow = this.left >= 0 && chunk.length > this.left;
    this.left -= chunk.length;
    this[stream] += kept;
    if (overflow) this.full();
    return kept;
  }
}
