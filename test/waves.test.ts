import { expect, test } from '@jest/globals';
import { wavesOf, wrongWave } from '../domain/waves.ts';

/** `a2+` is a second change at a2. */
const items = (names: string): { zone: string; node: string; name: string }[] =>
  names.split(' ').map((name) => ({ zone: name.slice(0, 1), node: name.slice(0, 2), name }));

test.each([
  ['a1 a2 a3 a4 a5 b1 b2 b3', 1, '50%', 'a1 | a2 a3 b1 | a4 a5 b2 | b3'],
  ['a1 a2 a3 a4 a5 b1 b2 b3', 2, '3', 'a1 a2 | a3 a4 a5 b1 b2 b3'],
  ['b1 a1 b2 a2 b3', 1, '1', 'b1 | a1 b2 | a2 b3'],
  ['a1 a2 a3', 1, '1%', 'a1 | a2 | a3'],
  ['a1 a2 a3', 1, '100%', 'a1 | a2 a3'],
  ['a1 a1+ a2 b1 a2+', 1, '1', 'a1 a1+ | a2 a2+ b1'],
  ['a1 b1', 5, '1', 'a1 b1'],
])('%s with %d canaries and waves of %s go as %s', (names, canary, wave, waves) => {
  const went = wavesOf(items(names), { canary, wave });
  expect(went.map((one) => one.map(({ name }) => name).join(' ')).join(' | ')).toBe(waves);
});

test.each(['0', '', '-1', '25 %', '1.5', 'all', '101%', '10000'])('"%s" is no size of a wave', (wave) => {
  expect(wrongWave(wave)).toContain(wave);
});
