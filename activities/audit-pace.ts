import { setTimeout as sleep } from 'node:timers/promises';

/**
 * So many nodes are begun at once. One that takes much longer than others do gives its place to the next and is waited for
 * beside them: nodes that hang delay nobody.
 */
export class Places {
  private free: number;
  private readonly waiting: (() => void)[] = [];
  /** How long a node usually takes, in milliseconds: a moving mean. */
  private usual = 700;

  constructor(places: number) {
    this.free = places;
  }

  /** @param work says whether the node has answered: how long one hung is not how long they usually take */
  async use(work: () => Promise<boolean>): Promise<void> {
    if (this.free > 0) this.free--;
    else await new Promise<void>((resolve) => this.waiting.push(resolve));
    const begun = performance.now();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      // What is usual is learnt meanwhile: where all are slow, more of them at once would only be slower.
      const look = (): void => {
        const most = Math.min(Math.max(patience * this.usual, leastPatienceMs), mostPatienceMs);
        const left = most + begun - performance.now();
        if (left > 0) timer = setTimeout(look, left);
        else resolve();
      };
      look();
    });
    const running = work();
    const ended = running.then(
      (answered) => {
        if (answered) this.usual += 0.3 * (performance.now() - begun - this.usual);
      },
      () => {},
    );
    void Promise.race([ended, late]).then(() => {
      clearTimeout(timer);
      const next = this.waiting.shift();
      if (next) next();
      else this.free++;
    });
    await running;
  }
}
/** Times the usual. */
const patience = 3;
const leastPatienceMs = 300;
const mostPatienceMs = 8_000;

/** A token bucket of one token: so many beginnings a second over all audits of this worker. */
export class Pace {
  private next = 0;
  private readonly everyMs: number;

  /** @param perSecond undefined: as fast as it goes */
  constructor(perSecond: number | undefined) {
    this.everyMs = perSecond === undefined ? 0 : 1000 / perSecond;
  }

  async turn(signal: AbortSignal): Promise<void> {
    if (this.everyMs === 0) return;
    const now = performance.now();
    const at = Math.max(now, this.next);
    this.next = at + this.everyMs;
    if (at > now) await sleep(at - now, undefined, { signal });
  }
}

/** @throws Error that names the deadline; the work is told to end by its signal */
export async function within<T>(
  ms: number,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const ended = new AbortController();
  const either = AbortSignal.any([signal, ended.signal]);
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ms / 1000} s`)), ms);
  });
  try {
    return await Promise.race([work(either), late]);
  } finally {
    clearTimeout(timer);
    ended.abort();
  }
}
