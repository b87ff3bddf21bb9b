import { expect, test } from '@jest/globals';
import { everyTarget } from '../cli/targets.ts';
import { labInventory } from '../lab/lab.ts';

const inventory = labInventory('fleet');

test.each([
  [['n*->far'], Array.from({ length: 20 }, (_, at) => `n${at + 1}->far`)],
  [['n1*->far'], ['n1', ...Array.from({ length: 10 }, (_, at) => `n${at + 10}`)].map((node) => `${node}->far`)],
  [
    ['n2->far', 'n*2->far'],
    ['n2->far', 'n12->far'],
  ],
  [['* -> n1'], ['far', 'far2', ...Array.from({ length: 19 }, (_, at) => `n${at + 2}`)].map((node) => `${node}->n1`)],
  [['service/shop/echo'], ['service/shop/echo']],
])('%j stands for each node that fits, once, and never for the one it leads to', async (given, targets) => {
  expect(await everyTarget(inventory, given)).toEqual(targets);
});

test('what fits no node says which there are', async () => {
  await expect(everyTarget(inventory, ['m*->far'])).rejects.toThrow(/no node fits "m\*"; there are: far, far2, n1, n2/);
});
