import { expect, test } from '@jest/globals';
import { Batches } from '../gateway/batches.ts';

/** Work that goes on when it is let go on. */
function held(most: number) {
  const done: string[] = [];
  const going: (() => void)[] = [];
  const batches = new Batches<number, number>(most, (one) => one, async (key, all) => {
    done.push(`${key}: ${all.join(' ')}`);
    await new Promise<void>((resolve) => going.push(resolve));
    if (all.includes(13)) throw new Error('thirteen');
    return all.map((one) => 10 * one);
  }); // prettier-ignore
  return { batches, done, goOn: () => going.shift()?.() };
}

const settle = async (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('what is asked meanwhile goes together, in order, up to a weight; keys do not wait for each other', async () => {
  const { batches, done, goOn } = held(5);
  const answers = [1, 2, 3, 9, 1].map(async (one) => batches.ask('a', one));
  const other = batches.ask('b', 1);
  expect(done).toEqual(['a: 1', 'b: 1']);
  for (let turn = 0; turn < 5; turn++) {
    goOn();
    await settle();
  }
  expect(done).toEqual(['a: 1', 'b: 1', 'a: 2 3', 'a: 9', 'a: 1']);
  expect(await Promise.all([...answers, other])).toEqual([10, 20, 30, 90, 10, 10]);
});

test('a batch that fails fails for those in it, and for nobody after them', async () => {
  const { batches, goOn } = held(50);
  const asked = [1, 13, 2].map(async (one) => batches.ask('a', one));
  const ended = Promise.allSettled(asked);
  goOn();
  await settle();
  const later = batches.ask('a', 4);
  goOn();
  await settle();
  goOn();
  expect((await ended).map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected']);
  expect(await later).toBe(40);
});

test('what is asked soon after a batch of the same key goes together, later', async () => {
  const done: { all: number[]; at: number }[] = [];
  const work = async (_: string, all: number[]): Promise<number[]> => {
    done.push({ all, at: performance.now() });
    return all;
  };
  const batches = new Batches<number, number>(50, () => 1, work, 200);
  expect(await batches.ask('a', 1)).toBe(1);
  const later = [batches.ask('a', 2), batches.ask('a', 3)];
  expect(await batches.ask('b', 4)).toBe(4);
  expect(await Promise.all(later)).toEqual([2, 3]);
  expect(done.map(({ all }) => all)).toEqual([[1], [4], [2, 3]]);
  expect((done[2]?.at ?? 0) - (done[0]?.at ?? 0)).toBeGreaterThan(195);
});
