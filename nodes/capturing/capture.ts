import { readFileSync } from 'node:fs';
import type { Captured, Seen } from '../../domain/captures.ts';
import type { Place } from '../../domain/target.ts';
import type { Running, Shell } from '../shells/shell.ts';

const script = readFileSync(new URL('capture.py', import.meta.url), 'utf8');
/** So many datagrams one end keeps: 13 bytes each on the node, and beyond it the step is void. */
export const mostDatagrams = 200_000;
const answerMs = 10_000;
const hashBytes = 8;

interface Order {
  /** Key of this run's hashes, in hex: equal payloads are equal within one run only. */
  key: string;
  end: 'client' | 'server';
  /** Address and port of each; port 0: any. */
  servers: readonly (readonly [address: string, port: number])[];
}

interface Told {
  flows: [string, number, string, number][];
  requests: Packed;
  replies: Packed;
  drops: number;
  cut: boolean;
  unsplit: number;
  incomplete: number;
}
type Packed = Record<'flows' | 'parts' | 'hashes', string>;

/** Watches one place's datagrams of the target: a python3 process that sends nothing and ends with its session. */
export class Capture {
  private readonly place: Place;
  private readonly running: Running;
  private readonly waiting: ((line: string) => void)[] = [];
  private ended: string | undefined;

  /** @throws Error when it cannot be started there, saying why */
  static async open(shell: Shell, place: Place, order: Order, lifeMs: number): Promise<Capture> {
    let rest = '';
    const words = JSON.stringify({ ...order, most: mostDatagrams, seconds: Math.ceil(lifeMs / 1000) });
    const waiting: Capture['waiting'] = [];
    const running = await shell.start(
      {
        argv: ['python3', '-I', '-c', script],
        deadlineMs: lifeMs + answerMs,
        maxBytes: 16 << 20,
        ...(place.netns !== undefined && { netns: place.netns }),
        ...(place.pid !== undefined && { pid: place.pid }),
      },
      (text) => {
        const lines = (rest + text).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) waiting.shift()?.(line);
      },
    );
    const capture = new Capture(place, running, waiting);
    running.write(`${words}\n`);
    await capture.answer();
    return capture;
  }

  private constructor(place: Place, running: Running, waiting: Capture['waiting']) {
    this.place = place;
    this.running = running;
    this.waiting = waiting;
    void running.done.then((outcome) => {
      const told =
        outcome.kind === 'exited' ? outcome.stderr.trim().split('\n').at(-1) || `status ${outcome.code}` : outcome.why;
      this.ended = /exec.*python3|python3.*not found/.test(told)
        ? 'python3 is missing there, which captures need'
        : told;
      for (const answer of this.waiting.splice(0)) answer('');
    });
  }

  /** From now on what comes belongs to the next part. Before the first mark nothing counts. */
  async mark(): Promise<void> {
    await this.ask('mark');
  }

  /**
   * Ends it and gives what was seen.
   * @throws Error where it lost some itself, or could not tell what it saw: what was not seen is not lost
   */
  async stop(): Promise<Captured> {
    const told = JSON.parse(await this.ask('stop')) as Told;
    const void_ = (why: string): never => {
      throw new Error(`capturing at ${this.place.name}: ${why}`);
    };
    if (told.drops > 0) void_(`the capture itself lost ${told.drops} packets, so nothing can be told`);
    if (told.cut)
      void_(`there were more than ${mostDatagrams.toLocaleString('en-US')} datagrams: watch for a shorter time`);
    if (told.unsplit > 0)
      void_(`${told.unsplit} packets carry several datagrams (segmentation offload) and could not be split`);
    const flows = told.flows.map(([client, clientPort, server, serverPort]) => ({
      client,
      clientPort,
      server,
      serverPort,
    }));
    return { flows, requests: unpacked(told.requests), replies: unpacked(told.replies), incomplete: told.incomplete };
  }

  close(): void {
    this.running.end();
    this.running.kill();
  }

  private async ask(word: 'mark' | 'stop'): Promise<string> {
    const answer = this.answer();
    this.running.write(`${word}\n`);
    return answer;
  }

  private async answer(): Promise<string> {
    return new Promise((resolve, reject) => {
      const broken = (why: string): void => reject(new Error(`capturing at ${this.place.name}: ${why}`));
      if (this.ended !== undefined) return broken(this.ended);
      const timer = setTimeout(() => broken(`no answer within ${answerMs / 1000} s`), answerMs);
      this.waiting.push((line) => {
        clearTimeout(timer);
        if (line) resolve(line);
        else broken(this.ended ?? 'the capture ended');
      });
    });
  }
}

/** Lists of flow (4 bytes), part (1 byte) and hash (8 bytes), as they came. */
function unpacked({ flows, parts, hashes }: Packed): Seen[] {
  const [flow, part, hash] = [flows, parts, hashes].map((text) => Buffer.from(text, 'base64'));
  if (!flow || !part || !hash) return [];
  return Array.from(part, (at, index) => ({
    flow: flow.readUInt32LE(4 * index),
    // Before the first mark nothing belongs to any part.
    part: at === 255 ? -1 : at,
    hash: hash.toString('latin1', hashBytes * index, hashBytes * (index + 1)),
  }));
}
