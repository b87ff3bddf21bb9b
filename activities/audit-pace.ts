import { setTimeout as sleep } from 'node:timers/promises';

/**
 * So many nodes are begun at once. One that does not answer gives its place to the next after a while and is waited for
 * beside the others: nodes that hang delay nobody.
 */
export class Places {
  private free: number;
  private readonly patienceMs: number;
  private readonly waiting: (() => void)[] = [];

  constructor(places: number, patienceMs: number) {
    this.free = places;
    this.patienceMs = patienceMs;
  }

  async use<T>(work: () => Promise<T>): Promise<T> {
    if (this.free > 0) this.free--;
    else await new Promise<void>((resolve) => this.waiting.push(resolve));
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, this.patienceMs);
    });
    const running = work();
    const ended = running.then(() => {}, () => {}); // prettier-ignore
    void Promise.race([ended, late]).then(() => {
      clearTimeout(timer);
      const next = this.waiting.shift();
      if (next) next();
      else this.free++;
    });
    return running;
  }
}

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
