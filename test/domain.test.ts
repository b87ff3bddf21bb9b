import { describe, expect, test } from '@jest/globals';
import { type Evidence, deltaOf } from '../domain/evidence.ts';
import { type ReportAnswer, type SendAnswer, addProbes, joinProbe, sweepSizes } from '../domain/probe.ts';
import type { Entry, Sample } from '../domain/sample.ts';
import { conclude } from '../domain/conclude.ts';
import { factsAt } from '../domain/facts/facts.ts';
import { headline, nextLine } from '../domain/report.ts';
import { sumLine, sumsOf } from '../domain/summary.ts';
import { type Account, type Conclusion, openLoss } from '../domain/verdict.ts';
import { loadRunbook } from '../runbooks/load.ts';
import { loadCases } from '../runbooks/test.ts';
import { evidenceFor } from '../runbooks/cases/evidence.ts';
import { Case } from '../runbooks/cases/form.ts';
import { cliffOf } from '../domain/facts/sizes.ts';
import { staleEntries, staleFacts } from '../domain/facts/stale.ts';
import { regress, significant, wilson } from '../domain/statistics.ts';
import type { Path, Place } from '../domain/target.ts';
import { emptySample } from './support/samples.ts';

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

const sent = (one: Partial<SendAnswer>): SendAnswer => ({
  sent: {},
  refused: {},
  answered: {},
  strange: 0,
  ownDrops: 0,
  ...one, // prettier-ignore
});
const heard = (one: Partial<ReportAnswer>): ReportAnswer => ({ arrived: {}, damaged: 0, ownDrops: 0, ...one });

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

describe('stale conntrack entries', () => {
  const place: Place = { name: 'h1', role: 'hop', node: 'h1', address: '10.0.0.1', nodeAddress: '10.0.0.1' };
  const endpoints = [{ address: '10.1.0.2', port: 9000 }];
  const service = { name: 'dns', address: '10.96.0.10', port: 53, endpoints, probe: 'echo' as const };
  const entry = (change: Partial<Entry>): Entry => ({
    source: '10.1.0.9',
    sourcePort: 4000,
    destination: '10.96.0.10',
    destinationPort: 53,
    replySource: '10.1.0.2',
    replySourcePort: 9000,
    replyDestination: '10.1.0.9',
    replyDestinationPort: 4000,
    unreplied: false,
    timeout: 20,
    ...change, // prettier-ignore
  });
  const seen = (entries: Entry[], change: Partial<Sample> = {}, path: Partial<Path> = { service }): Evidence => {
    const edge = { at: 0, samples: { h1: { ...emptySample(), entries, ...change } }, failed: {} };
    return {
      path: { text: 'a->dns', places: [place], ...path },
      windows: [{ step: 'flow', before: edge, after: edge }],
    };
  };
  const facts = (evidence: Evidence) => staleFacts(evidence, evidence.windows[0]!, place);

  test('are those of the Service that lead to no endpoint, by address and by port', () => {
    const dead = entry({ replySource: '10.1.0.7' });
    const wrongPort = entry({ replySourcePort: 53 });
    const elsewhere = entry({ destination: '10.96.0.11', replySource: '10.1.0.7' });
    const otherPort = entry({ destinationPort: 54, replySource: '10.1.0.7' });
    expect(staleEntries(seen([entry({}), dead, wrongPort, elsewhere, otherPort]), place)).toEqual([dead, wrongPort]);
    expect(facts(seen([dead]))).toMatchObject({ dead: { entries: 1, to: '10.1.0.7' }, untranslated: { entries: 0 } });
  });

  test('without any address translation lead to the Service itself', () => {
    const untouched = entry({ replySource: '10.96.0.10', replySourcePort: 53 });
    expect(facts(seen([untouched]))).toMatchObject({ untranslated: { entries: 1 }, dead: { entries: 0 } });
  });

  test('are unknown, not none, where nothing could be joined', () => {
    expect(facts(seen([entry({})]))).toMatchObject({ dead: { entries: 0 }, untranslated: { entries: 0 } });
    const why = (evidence: Evidence) => () => facts(evidence).dead;
    expect(why(seen([], { missing: { entries: 'no program conntrack' } }))).toThrow('no program conntrack');
    expect(why(seen([], { cut: ['entries'] }))).toThrow('was cut');
    expect(why(seen([entry({})], {}, {}))).toThrow('no Service');
    expect(why(seen([entry({})], {}, { service: { ...service, endpoints: [] } }))).toThrow('no Service');
    expect(
      staleEntries(seen([entry({ replySource: '10.1.0.7' })], {}, { service: { ...service, endpoints: [] } }), place),
    ).toEqual([]);
  });
});

describe('the sum of a step', () => {
  const account = (explained: [counter: string, counted: number, lost: number][], change: Partial<Account> = {}): Account => ({
    step: 'small', sent: 200, lost: 180, requestLost: 150, replyLost: 30, oneWay: true, ...change,
    explained: explained.map(([counter, counted, lost]) => ({ cause: counter.toUpperCase(), place: 'h1', counter, counted, lost })),
  }); // prettier-ignore
  const told = (one: Account): string =>
    sumsOf({ kind: 'partly', says: '', roots: [], verdicts: [], accounts: [one], unseen: {} })
      .map(sumLine)
      .join('\n');

  test.each([
    ['nothing', account([]), 180, 'lost 180 of 200, not accounted for (small)'],
    ['all of it', account([['a', 180, 180]]), 0, 'lost 180 of 200 = h1 a +180 (small)'],
    ['the replies alone', account([['a', 30, 30]]), 150, 'lost 180 of 200, replies 30 = h1 a +30, 150 not accounted for (small)'],
    ['the requests, which are most of it', account([['a', 150, 150]]), 0, 'lost 180 of 200, requests 150 = h1 a +150 (small)'],
    ['requests and replies', account([['a', 125, 150], ['b', 30, 30]]), 0, 'lost 180 of 200, requests 150 = h1 a +125, replies 30 = h1 b +30 (small)'],
    ['the replies by two names', account([['a', 90, 90], ['b', 90, 90]], { requestLost: 60, replyLost: 90, lost: 150 }), 60, 'lost 150 of 200, replies 90 = h1 a +90 = h1 b +90, 60 not accounted for (small)'],
    ['one half by two names', account([['a', 50, 50], ['b', 50, 50]], { requestLost: 50, replyLost: 50, lost: 100 }), 50, 'lost 100 of 200, requests 50 = h1 a +50 = h1 b +50, 50 not accounted for (small)'],
    ['more than was lost, by fragments', account([['a', 220, 180]]), 0, 'lost 180 of 200 = h1 a +220 (small)'],
  ])('accounted for: %s', (_, one, open, line) => {
    expect(openLoss(one)).toBe(open);
    expect(told(one)).toBe(line);
  }); // prettier-ignore
});

describe('a conclusion', () => {
  const runbook = loadRunbook();
  const [one] = loadCases(runbook);
  const concluded = (change: (evidence: Evidence) => void): Conclusion => {
    const evidence = evidenceFor(one!, runbook.methodology);
    change(evidence);
    return conclude(runbook, evidence);
  };
  const probe = (lost: number, change: object = {}) => ({
    ...joinProbe(sent({ sent: { 64: 200 }, answered: { 64: 200 - lost } }), heard({ arrived: { 64: 200 - lost } })),
    ...change,
  });
  const steps = (evidence: Evidence, lost: number[], change: object = {}): void => {
    const [control, window] = evidence.windows;
    const ids = ['small', 'steady', 'reverse', 'sizes', 'burst', 'pair'];
    evidence.windows = [
      control!,
      ...lost.map((count, index) => ({ ...window!, step: ids[index]!, probe: probe(count, change) })),
    ];
  };

  test('where nothing could be sent is not that nothing is lost', () => {
    const conclusion = concluded((evidence) => evidence.windows.splice(1));
    expect(conclusion).toMatchObject({ kind: 'inconclusive', says: 'nothing could be sent' });
    expect(headline(conclusion)).toBe('nothing could be sent');
    expect(nextLine(runbook, conclusion)).toMatch(/each step says why/);
    expect(conclusion.verdicts.map(({ kind }) => kind)).not.toContain('refuted');
    expect(conclusion.verdicts.filter(({ says }) => says.includes('undefined'))).toEqual([]);
  });

  test('of a little loss in each of many steps is not that nothing is lost', () => {
    const conclusion = concluded((evidence) => steps(evidence, [2, 2, 2, 2, 2, 2]));
    expect(conclusion).toMatchObject({ kind: 'inconclusive', says: expect.stringContaining('12 of 1,200 lost') });
    expect(headline(conclusion)).toBe('too little loss to judge');
    expect(conclusion.verdicts.find(({ cause }) => cause === 'CT-FULL')).toMatchObject({ kind: 'untested' });
    expect(concluded((evidence) => steps(evidence, [2, 0, 0, 0, 0, 0])).kind).toBe('no-loss');
    expect(concluded((evidence) => steps(evidence, [0])).kind).toBe('no-loss');
  });

  test('names answers that came from elsewhere', () => {
    const { says } = concluded((evidence) => steps(evidence, [100], { strange: 100 }));
    expect(says).toContain('100 answers came from another address than was asked (small)');
  });

  test('is not that a step is explained where a counter accounts for a fraction of it', () => {
    const { kind, accounts, says } = concluded((evidence) => {
      steps(evidence, [180], { requestLost: 150, replyLost: 30 });
      const { before, after } = evidence.windows[1]!;
      const rule = { id: 'r', text: 'x -j DROP', verdict: 'drop' as const, protocol: 'udp' as const, invalid: false, fragments: false, random: false }; // prettier-ignore
      const control = evidence.windows[0]!;
      for (const [edge, packets] of [[control.before, 0], [control.after, 0], [before, 0], [after, 30]] as const)
        for (const name of Object.keys(edge.samples)) {
          const sample = edge.samples[name]!;
          const quiet = { ...evidence.windows[0]!.before.samples[name]!.counters };
          edge.samples[name] = { ...sample, counters: quiet, rules: name === 'worker-a' ? [{ ...rule, packets }] : [] };
        } // prettier-ignore
    });
    expect(accounts).toMatchObject([{ lost: 180, explained: [{ cause: 'HOST-FIREWALL', place: 'worker-a', counted: 30, lost: 30 }] }]); // prettier-ignore
    expect({ kind, says }).toEqual({ kind: 'partly', says: 'HOST-FIREWALL at worker-a; not explained: small' });
  });
});

test.each(['vxlan', 'geneve', 'gre', 'ipip', 'wireguard', 'physical'])(
  'a router needs a route to the pods behind it, but not between the ends of a tunnel: %s',
  (kind) => {
    const runbook = loadRunbook();
    const one = Case.parse({
      name: 'x',
      at: 'gateway',
      expect: 'proved',
      windows: [{ step: 'small', probe: { sent: 200, lost: 200 } }],
      samples: {
        'worker-a': { routes: { '10.60.2.53': { device: 'tun0' } }, links: [{ name: 'tun0', kind }] },
        gateway: { routes: { '10.60.2.53': { error: 'unreachable' } } },
      },
    });
    const { roots } = conclude(runbook, evidenceFor(one, runbook.methodology));
    const missing = roots.filter(({ cause }) => cause === 'ROUTE-MISSING').map(({ place }) => place);
    expect(missing).toEqual(kind === 'physical' ? ['gateway'] : []);
  },
);

describe('on an IPv6 path', () => {
  const place: Place = { name: 'h1', role: 'sender', node: 'h1', address: 'fd00::1', nodeAddress: 'fd00::1' };
  const at = (uptime: number, six: number): Evidence['windows'][0]['before'] => ({
    at: uptime * 1000,
    failed: {},
    samples: {
      h1: {
        ...emptySample(),
        uptime,
        counters: {
          UdpNoPorts: 9, IpFragFails: 9, TcpExtIPReversePathFilter: 9, neigh_table_fulls: 9, softnet_dropped: 9,
          IcmpInDestUnreachs: 9, Udp6NoPorts: six, Ip6FragFails: 2 * six, Icmp6InPktTooBigs: six, Icmp6InDestUnreachs: 3 * six,
        },
        gauges: { ipfrag_high_thresh: 4, udp_mem_max: 5 },
      },
    },
  }); // prettier-ignore
  const facts = (address: string) => {
    const end: Place = { ...place, name: 'h2', role: 'receiver', address, nodeAddress: address };
    const windows = [{ step: 'small', before: at(1, 0), after: at(2, 5), probe: addProbes([]) }];
    return factsAt({ path: { text: 'h1->h2', places: [{ ...place, address }, end] }, windows }, windows[0]!, {
      ...place,
      address,
    });
  };

  test("the counters that causes name are IPv6's, and what has none is absent and not zero", () => {
    const { delta, extra, senderExtra, after } = facts('fd00::1');
    const six = { UdpNoPorts: 5, IpFragFails: 10, softnet_dropped: 0, IcmpInDestUnreachs: 20, IcmpInPktTooBigs: 5 };
    expect([delta, extra, senderExtra]).toEqual([six, six, six]);
    expect(after).toEqual({ udp_mem_max: 5 });
  });

  test("and on an IPv4 path they are IPv4's", () => {
    const { delta, after } = facts('10.0.0.1');
    expect(delta).toMatchObject({ UdpNoPorts: 0, TcpExtIPReversePathFilter: 0, Udp6NoPorts: 5 });
    expect(after).toEqual({ ipfrag_high_thresh: 4, udp_mem_max: 5 });
  });
});
