import { readFileSync } from 'node:fs';
import type { ReportAnswer, SendAnswer } from '../../domain/probe-result.ts';
import type { Place } from '../../domain/target.ts';
import type { Running, Shell } from '../shells/shell.ts';

const script = readFileSync(new URL('prober.py', import.meta.url), 'utf8');

/** What the sending prober is told; see prober.py. */
export interface SendOrder {
  group: number;
  address: string;
  port: number;
  sizes: readonly number[];
  count: number;
  rate: number;
  waitMs: number;
  source?: string;
  perPort?: number;
  firstPort?: number;
  df?: boolean;
  checksum?: string;
  /** Where two senders that must collide wait for each other before each datagram; one of them made it (`meet`). */
  meet?: string;
  /** Which of the two: each takes another CPU. */
  turn?: number;
  tuple?: { address: string; port: number };
  /** Set where the application is a DNS server: a zone that it answers from memory. */
  zone?: string;
}

/** A prober on one place: a python3 process that lives as long as its session and ends with it. */
export class Prober {
  private readonly place: Place;
  private readonly run: string;
  private readonly waiting: ((line: string) => void)[] = [];
  private running: Running | undefined;
  private ended: string | undefined;
  private until = 0;
  port = 0;

  constructor(place: Place, run: string) {
    this.place = place;
    this.run = run;
  }

  /** @param lifeMs the prober ends itself after this time, even when nobody can reach it any more */
  async open(shell: Shell, lifeMs: number): Promise<void> {
    let rest = '';
    this.until = performance.now() + lifeMs;
    this.running = await shell.start(
      {
        // The script is an argument, so that stdin is free for orders; -I keeps the node's environment and files out of it.
        argv: ['python3', '-I', '-u', '-c', script, String(Math.ceil(lifeMs / 1000))],
        deadlineMs: lifeMs,
        maxBytes: 8 << 20,
        ...(this.place.netns !== undefined && { netns: this.place.netns }),
        ...(this.place.pid !== undefined && { pid: this.place.pid }),
      },
      (text) => {
        const lines = (rest + text).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) this.waiting.shift()?.(line);
      },
    );
    void this.running.done.then((outcome) => {
      const told =
        outcome.kind === 'exited' ? outcome.stderr.trim().split('\n').at(-1) || `status ${outcome.code}` : outcome.why;
      this.ended = /python3/.test(told) ? 'python3 is missing there, which probes need' : told;
      for (const answer of this.waiting.splice(0)) answer('');
    });
  }

  /** Starts undrop's own listener; returns its port. */
  async listen(): Promise<number> {
    const answer = await this.ask<{ port: number }>({ op: 'listen', address: this.place.address }, 5_000);
    this.port = answer.port;
    return answer.port;
  }

  async send(order: SendOrder, signal?: AbortSignal): Promise<SendAnswer> {
    const sending = order.rate ? (order.count * order.sizes.length * 1000) / order.rate : 10_000;
    return this.ask<SendAnswer>({ op: 'send', ...order }, sending + order.waitMs + 10_000, signal);
  }

  async report(group: number): Promise<ReportAnswer> {
    return this.ask<ReportAnswer>({ op: 'report', group }, 5_000);
  }

  /** Counts from now on what comes in for a port that an application has. */
  async watch(port: number): Promise<void> {
    await this.ask({ op: 'watch', port }, 5_000);
  }

  /** What the watch saw of a group, of which so many left from each source port. */
  async watched(group: number, perPort: number): Promise<ReportAnswer> {
    return this.ask<ReportAnswer>({ op: 'report', group, silent: true, perPort }, 5_000);
  }

  /** Whether it is there and lives so long still. */
  usable(ms: number): boolean {
    return this.running !== undefined && this.ended === undefined && this.until - performance.now() >= ms;
  }

  /** Makes a place in memory where two senders of its machine can meet; its path lives as long as this prober. */
  async meet(): Promise<string> {
    return (await this.ask<{ path: string }>({ op: 'meet' }, 5_000)).path;
  }

  close(): void {
    this.running?.end();
    this.running?.kill();
  }

  private async ask<T>(order: object, deadlineMs: number, signal?: AbortSignal): Promise<T> {
    const line = await new Promise<string>((resolve, reject) => {
      let timer: NodeJS.Timeout | undefined;
      const broken = (why: string): void => {
        clearTimeout(timer);
        reject(new Error(`probing at ${this.place.name}: ${why}`));
      };
      if (!this.running || this.ended !== undefined) return broken(this.ended ?? 'the prober is not open');
      timer = setTimeout(() => broken(`no answer within ${Math.round(deadlineMs / 1000)} s`), deadlineMs);
      if (signal?.aborted) return broken('it was cancelled');
      signal?.addEventListener('abort', () => broken('it was cancelled'), { once: true });
      this.waiting.push((text) => {
        clearTimeout(timer);
        if (text) resolve(text);
        else broken(this.ended ?? 'the prober ended');
      });
      this.running.write(`${JSON.stringify({ run: this.run, ...order })}\n`);
    });
    const answer = JSON.parse(line) as T & { error?: string };
    if (answer.error) throw new Error(`probing at ${this.place.name}: ${answer.error}`);
    return answer;
  }
}
