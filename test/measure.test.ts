import { describe, expect, test } from '@jest/globals';
import { deltaOf } from '../domain/evidence.ts';
import { sweepSizes } from '../domain/probe.ts';
import { addProbes, joinProbe } from '../domain/probe-result.ts';
import type { Sample } from '../domain/sample.ts';
import { cliffOf } from '../domain/facts/sizes.ts';
import { regress, significant, wilson } from '../domain/statistics.ts';
import { emptySample, heard, sent } from './support/samples.ts';

describe('a proportion and its interval', () => {
  // Newcombe, "Two-sided confidence intervals for the single proportion", Statistics in Medicine 17 (1998), table I, method 3.
  test.each([
    [81, 263, 0.2553, 0.3662],
    [15, 148, 0.0624, 0.1605],
    [0, 20, 0, 0.1611],
    [1, 29, 0.0061, 0.1718],
  ])('wilson %i of %i is published as %f to %f', (count, of, low, high) => {
    const interval = wilson(count, of);
    expect(interval.share).toBe(count / of);
    expect(interval.low).toBeCloseTo(low, 4);
    expect(interval.high).toBeCloseTo(high, 4);
  });

  test('all of them lost mirrors none of them lost', () => {
    expect(wilson(20, 20).low).toBeCloseTo(1 - wilson(0, 20).high, 12);
    expect(wilson(20, 20).high).toBe(1);
  });

  test('fewer than three losses claim nothing', () => {
    expect([0, 1, 2, 3, 4].map(significant)).toEqual([false, false, false, true, true]);
  });
});

describe('regression', () => {
  // NIST StRD "Norris", 36 observations: certified slope 1.00211681802045, its standard deviation 0.000429796848199937.
  const norris = `0.1 0.2 338.8 337.4 118.1 118.2 888.0 884.6 9.2 10.1 228.1 226.5 668.5 666.3 998.5 996.3 449.1 448.6
    778.9 777.0 559.2 558.2 0.3 0.4 0.1 0.6 778.1 775.5 668.8 666.9 339.3 338.0 448.9 447.5 10.8 11.6 557.7 556.0
    228.3 228.1 998.0 995.8 888.8 887.6 119.6 120.2 0.3 0.3 0.6 0.3 557.6 556.8 339.3 339.1 888.0 887.2 998.5 999.0
    778.9 779.0 10.2 11.1 117.6 118.3 228.9 229.2 668.4 669.1 449.2 448.9 0.2 0.5`;
  const numbers = norris.trim().split(/\s+/).map(Number);
  const [y, x] = [numbers.filter((_, index) => index % 2 === 0), numbers.filter((_, index) => index % 2 === 1)];

  test('finds the certified slope and interval of a reference data set', () => {
    const found = regress(x, y);
    expect(found?.slope).toBeCloseTo(1.00211681802045, 10);
    expect(found?.high).toBeCloseTo(1.00211681802045 + 1.959964 * 0.000429796848199937, 9);
    expect(found?.low).toBeCloseTo(1.00211681802045 - 1.959964 * 0.000429796848199937, 9);
  });

  test('other traffic on the counter moves the intercept, not the slope', () => {
    const lost = [0, 40, 0, 40, 40, 0, 0, 40];
    expect(
      regress(
        lost,
        lost.map((one) => one + 1000),
      )?.slope,
    ).toBeCloseTo(1, 12);
    expect(
      regress(
        lost,
        lost.map(() => 1000),
      ),
    ).toMatchObject({ slope: 0, low: 0, high: 0 });
  });

  test('tells nothing from too few points or from a loss that never varied', () => {
    expect(regress([0, 1, 0, 1, 0, 1, 0], [0, 1, 0, 1, 0, 1, 0])).toBeUndefined();
    expect(regress(Array(12).fill(5), [...Array(12).keys()])).toBeUndefined();
  });
});

describe('the account of a probe', () => {
  test('what is lost is split exactly into requests, replies and our own drops', () => {
    const result = joinProbe(
      sent({ sent: { 64: 100 }, answered: { 64: 80 }, ownDrops: 2 }),
      heard({ arrived: { 64: 90 }, ownDrops: 4 }),
    );
    expect(result).toMatchObject({
      sent: 100,
      answered: 80,
      requestLost: 6,
      replyLost: 8,
      lost: 14,
      ownDrops: 6,
      oneWay: true,
    });
    expect(result.answered + result.lost + result.ownDrops).toBe(result.sent);
  });

  test('our own drops never explain more than is missing', () => {
    const result = joinProbe(
      sent({ sent: { 64: 10 }, answered: { 64: 10 }, ownDrops: 50 }),
      heard({ arrived: { 64: 10 }, ownDrops: 50 }),
    );
    expect(result).toMatchObject({ lost: 0, requestLost: 0, replyLost: 0 });
  });

  test('a datagram refused as too big is no loss, one refused otherwise is', () => {
    const result = joinProbe(
      sent({ sent: { 64: 10, 1400: 0 }, refused: { EMSGSIZE: { 1400: 10 }, EPERM: { 64: 3 } }, answered: { 64: 10 } }),
      heard({ arrived: { 64: 10 } }),
    );
    expect(result).toMatchObject({ sent: 13, tooBig: 10, lost: 3, requestLost: 3, refused: { EPERM: 3 } });
    expect(result.bySize).toEqual([
      { size: 64, sent: 13, tooBig: 0, answered: 10, arrived: 10, lost: 3 },
      { size: 1400, sent: 0, tooBig: 10, answered: 0, arrived: 0, lost: 0 },
    ]);
  });

  test('what undrop had no file or port for was never sent', () => {
    const refused = { EMFILE: { 64: 30 }, EADDRINUSE: { 64: 3 }, EPERM: { 64: 2 } };
    expect(joinProbe(sent({ sent: { 64: 65 }, refused, answered: { 64: 65 } }), heard({ arrived: { 64: 65 } }))).toMatchObject({
      sent: 67, lost: 2, refused: { EMFILE: 30, EADDRINUSE: 3, EPERM: 2 },
    }); // prettier-ignore
  });

  test('what was sent before a far hop said that it is too big is known to be too big, and no loss', () => {
    const told = sent({
      sent: { 64: 10, 1400: 3, 1450: 10 },
      refused: { EMSGSIZE: { 1400: 7 } },
      answered: { 64: 10, 1400: 0 },
    });
    const result = joinProbe(told, heard({ arrived: { 64: 10, 1400: 1 } }));
    expect(result).toMatchObject({ sent: 21, tooBig: 9, requestLost: 10, replyLost: 1, lost: 11 });
    expect(result.bySize[1]).toMatchObject({ size: 1400, sent: 1, tooBig: 9, lost: 1 });
  });

  test('without a listener of ours our own drops are no loss either', () => {
    expect(joinProbe(sent({ sent: { 64: 10 }, answered: { 64: 6 }, ownDrops: 3 }))).toMatchObject({
      lost: 1, requestLost: 1, replyLost: 0,
    }); // prettier-ignore
  });

  test('without a listener of ours the direction of the loss stays unknown', () => {
    const result = joinProbe(sent({ sent: { 64: 10 }, answered: { 64: 7 } }));
    expect(result).toMatchObject({ lost: 3, oneWay: false, replyLost: 0 });
    expect(addProbes([result, joinProbe(sent({}), heard({}))]).oneWay).toBe(false);
  });

  test('probes add up, size by size', () => {
    const one = joinProbe(
      sent({ sent: { 64: 10, 512: 10 }, answered: { 64: 10, 512: 4 } }),
      heard({ arrived: { 64: 10, 512: 6 } }),
    );
    const both = addProbes([one, one]);
    expect(both).toMatchObject({ sent: 40, lost: 12, requestLost: 8, replyLost: 4, oneWay: true });
    expect(both.bySize.map(({ size, lost }) => [size, lost])).toEqual([[64, 0], [512, 12]]); // prettier-ignore
  });

  test('a sweep stays within what the sender can send whole when fragments are forbidden', () => {
    expect(Math.max(...sweepSizes(1450, false, true))).toBe(1422);
    expect(sweepSizes(1500, true, true)).toContain(1452);
    expect(Math.max(...sweepSizes(1450, false, false))).toBe(4000);
  });
});

describe('a size cliff', () => {
  const swept = (lost: number[], each = 10) =>
    joinProbe(
      sent({
        sent: Object.fromEntries(lost.map((_, index) => [(index + 1) * 100, each])),
        answered: Object.fromEntries(lost.map((one, index) => [(index + 1) * 100, each - one])),
      }),
    );
  test.each([
    ['everything passes', [0, 0, 0, 0], { sharp: false, lostAbove: 0 }],
    ['from 300 on nothing passes', [0, 0, 10, 10], { sharp: true, passes: 200, fails: 300, lostAbove: 20 }],
    ['a stray loss on each side is no reason to doubt', [1, 0, 9, 10], { sharp: true, passes: 200, fails: 300 }],
    ['loss at one size in the middle', [0, 10, 0, 0], { sharp: false }],
    ['loss that grows slowly', [0, 2, 5, 9], { sharp: false }],
    ['loss at every size', [10, 10, 10, 10], { sharp: false, passes: 0, fails: 0 }],
    ['nothing was sent', [], { sharp: false }],
  ])('%s', (_, lost, cliff) => expect(cliffOf(swept(lost))).toMatchObject(cliff));

  test('two lost datagrams make no cliff', () => expect(cliffOf(swept([0, 0, 2], 2)).sharp).toBe(false));
  test('there is none without a probe', () => expect(cliffOf(undefined).sharp).toBe(false));
});

describe('the difference of two samples', () => {
  const before: Sample = {
    ...emptySample(),
    counters: { UdpNoPorts: 5, IpForwDatagrams: 9 },
    devices: { 'link.a.rx_dropped': 3 },
  };
  const after = (change: Partial<Sample>): Sample => ({ ...before, uptime: before.uptime + 5, ...change });

  test('counts what moved', () => {
    const delta = deltaOf(
      before,
      after({ counters: { UdpNoPorts: 12, IpForwDatagrams: 9 }, devices: { 'link.a.rx_dropped': 4 } }),
    );
    expect(delta).toMatchObject({
      counters: { UdpNoPorts: 7, IpForwDatagrams: 0 },
      devices: { 'link.a.rx_dropped': 1 },
    });
  });

  test.each([
    ['another boot', { bootId: 'other' }, /booted/],
    ['another network namespace', { netns: '4026532000' }, /two different network namespaces/],
    ['the wrong order', { uptime: 1 }, /wrong order/],
    [
      'a counter that went down',
      { counters: { UdpNoPorts: 4, IpForwDatagrams: 9 } },
      /UdpNoPorts went down from 5 to 4/,
    ],
  ] as [string, Partial<Sample>, RegExp][])('is void after %s', (_, change, why) => {
    expect(deltaOf(before, after(change))).toEqual({ void: expect.stringMatching(why) });
  });

  test('a counter or device that only one sample has is absent, not zero', () => {
    const delta = deltaOf(
      before,
      after({ counters: { UdpNoPorts: 5, UdpMemErrors: 7 }, devices: { 'link.b.rx_dropped': 9 } }),
    );
    expect(delta).toEqual({ counters: { UdpNoPorts: 0 }, devices: {}, rules: {}, sockets: {} });
  });

  test('a device that was made anew is left out and does not void the rest', () => {
    expect(deltaOf(before, after({ devices: { 'link.a.rx_dropped': 0 } }))).toMatchObject({ devices: {} });
  });
});
