import { expect, test } from '@jest/globals';
import { millisecondsOf } from '../cli/duration.ts';

test('times of options, in one spelling for deadlines and rhythms', () => {
  const read = (text: string): number => millisecondsOf('--every', text, ['500ms', '400d']);
  expect(['500ms', '1.5s', '10', '15m', '1h', '1d'].map(read)).toEqual([500, 1_500, 10_000, 900_000, 3_600_000, 86_400_000]); // prettier-ignore
  for (const wrong of ['', 's', '1 h', '-1s', '1.2.3s', '1w', '1e3', '400ms', '401d', 'Infinity'])
    expect(() => read(wrong)).toThrow(/--every takes a time of 500ms to 400d, with ms, s, m, h or d, such as 10s/);
});
