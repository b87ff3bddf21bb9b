import { setTimeout as sleep } from 'node:timers/promises';

interface Asked<In, Out> {
  one: In;
  resolve: (out: Out) => void;
  reject: (error: unknown) => void;
}

/**
 * Does together what is asked while the last batch of the same key is on its way: nobody waits for company, and under load,
 * when each step takes longest, there are fewer steps. Of one key everything is done in the order in which it was asked.
 */
export class Batches<In, Out> {
  private readonly queues = new Map<string, Asked<In, Out>[]>();
  private readonly most: number;
  private readonly weight: (one: In) => number;
  private readonly work: (key: string, all: In[]) => Promise<Out[]>;
  private readonly apartMs: number;

  /**
   * @param most weight of a batch; one that weighs more goes alone
   * @param work gives one result for each that was asked, in the same order; where it throws, it throws for each
   * @param apartMs so long after a batch no other of the same key begins
   */
  constructor(
    most: number,
    weight: (one: In) => number,
    work: (key: string, all: In[]) => Promise<Out[]>,
    apartMs = 0,
  ) {
    this.most = most;
    this.weight = weight;
    this.work = work;
    this.apartMs = apartMs;
  }

  async ask(key: string, one: In): Promise<Out> {
    return new Promise((resolve, reject) => {
      const queue = this.queues.get(key);
      const asked = { one, resolve, reject };
      if (queue) queue.push(asked);
      else {
        this.queues.set(key, [asked]);
        void this.run(key);
      }
    });
  }

  private async run(key: string): Promise<void> {
    const queue = this.queues.get(key) ?? [];
    while (queue.length > 0) {
      const batch = queue.splice(0, this.fitting(queue));
      try {
        const outs = await this.work(key, batch.map(({ one }) => one)); // prettier-ignore
        batch.forEach(({ resolve }, index) => resolve(outs[index] as Out));
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
      if (this.apartMs > 0) await sleep(this.apartMs);
    }
    this.queues.delete(key);
  }

  private fitting(queue: readonly Asked<In, Out>[]): number {
    let sum = 0;
    const beyond = queue.findIndex(({ one }) => (sum += this.weight(one)) > this.most);
    return beyond < 0 ? queue.length : Math.max(1, beyond);
  }
}
