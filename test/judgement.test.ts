import { describe, expect, test } from '@jest/globals';
import { type Evidence } from '../domain/evidence.ts';
import { addProbes, joinProbe } from '../domain/probe-result.ts';
import type { Entry, Sample } from '../domain/sample.ts';
import { conclude } from '../domain/conclude.ts';
import { factsAt } from '../domain/facts/facts.ts';
import { radiusLine } from '../domain/plan.ts';
import { headline, nextLine } from '../domain/report.ts';
import { sumLine, sumsOf } from '../domain/summary.ts';
import { type Account, type Conclusion, openLoss } from '../domain/verdict.ts';
import { loadRunbook } from '../runbooks/load.ts';
import { loadCases } from '../runbooks/test.ts';
import { evidenceFor } from '../runbooks/cases/evidence.ts';
import { Case } from '../runbooks/cases/form.ts';
import { staleEntries, staleFacts } from '../domain/facts/stale.ts';
import type { Path, Place } from '../domain/target.ts';
import { emptySample, heard, sent } from './support/samples.ts';

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
  });

  test('of a Service without endpoints are all that lead anywhere', () => {
    const scaled = seen([entry({})], {}, { service: { ...service, endpoints: [] } });
    expect(staleEntries(scaled, place)).toEqual([entry({})]);
    expect(facts(scaled)).toMatchObject({ endpoints: 0, dead: { entries: 1, to: '10.1.0.2' } });
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

describe('of losses beside users’ traffic in the same counter', () => {
  const runbook = loadRunbook();
  const on = [0, 0, 1, 1, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 0, 0, 1, 1, 0, 1, 1, 1, 0, 0];
  const lost = on.map((sends, index) => sends * (90 + (index % 7)));
  /** A firewall that drops half of everything, users' datagrams too, and one step more. */
  const concluded = (step: string, more: { lost: number; moved: number }): Conclusion =>
    conclude(runbook, evidenceFor(Case.parse({
      name: 'x', at: 'worker-b', expect: 'proved',
      samples: { 'worker-b': { rules: [{ id: 'policy', text: 'filter: policy of INPUT DROP' }] } },
      control: { delta: { 'worker-b': { 'rule policy': 600 } } },
      windows: [
        { step: 'small', probe: { sent: 200, lost: 100 }, delta: { 'worker-b': { 'rule policy': 730 } } },
        { step, probe: { sent: 200, lost: more.lost }, delta: { 'worker-b': { 'rule policy': more.moved } } },
        { step: 'coded', probe: { sent: on.map((sends) => sends * 200), lost }, delta: { 'worker-b': { 'rule policy': lost.map((count) => 60 + count) } } },
      ],
    }), runbook.methodology)); // prettier-ignore

  test('a code proves the cause, and accounts for steps that lost as often while its counter moved as much', () => {
    const { kind, roots, accounts, ...rest } = concluded('steady', { lost: 97, moved: 640 });
    expect({ kind, roots: roots.map(({ cause }) => cause) }).toEqual({ kind: 'explained', roots: ['HOST-FIREWALL'] });
    expect(accounts).toMatchObject([
      { step: 'small', explained: [{ counted: 100, among: 730 }] },
      { step: 'steady', explained: [{ counted: 97, among: 640 }] },
      { step: 'coded', explained: [{ lost: lost.reduce((sum, one) => sum + one) }] },
    ]);
    const lines = sumsOf({ kind, roots, accounts, ...rest }).map(sumLine);
    expect(lines[0]).toBe("lost 197 of 400 = worker-b rule filter: policy of INPUT DROP, 197 of +1,370 with other traffic's (small, steady)"); // prettier-ignore
  });

  test.each([
    ['lost more often than where it is proved', { lost: 200, moved: 700 }],
    ['lost more than its counter moved', { lost: 100, moved: 70 }],
  ])('and not for a step that %s', (_, more) => {
    expect(concluded('burst', more)).toMatchObject({ kind: 'partly', says: 'HOST-FIREWALL at worker-b; not explained: burst' }); // prettier-ignore
  });
});

describe('of a Service with two endpoints that both refuse', () => {
  const runbook = loadRunbook();
  /** 200 datagrams to the Service's address, spread over dns-1 and dns-2, and what each of them says of its share. */
  const refused = (counts: [number, number], change: Partial<Place> = {}): Conclusion => {
    const one = Case.parse({
      name: 'x', at: 'dns-1', expect: 'proved',
      windows: [{ step: 'service', probe: { sent: 200, lost: 200 }, delta: { 'dns-1': { UdpNoPorts: counts[0] } } }],
    }); // prettier-ignore
    const evidence = evidenceFor(one, runbook.methodology);
    const last = evidence.path.places.at(-1)!;
    const second: Place = { ...last, name: 'dns-2', address: '10.60.2.54', netns: 'dns-2', ...change };
    evidence.path = { ...evidence.path, places: evidence.path.places.toSpliced(-1, 0, second) };
    const edges = new Set(evidence.windows.flatMap(({ before, after }) => [before, after]));
    for (const edge of edges) {
      const { counters, ...rest } = edge.samples['dns-1']!;
      const moved = edge === evidence.windows.at(-1)!.after ? counts[1] : 0;
      const UdpNoPorts = 1_000 + moved;
      edge.samples['dns-2'] = { ...rest, netns: 'netns-dns-2', counters: { ...counters, UdpNoPorts } };
    }
    return conclude(runbook, evidence);
  };
  const of = ({ verdicts }: Conclusion) =>
    Object.fromEntries(
      verdicts.flatMap(({ cause, place, kind, share }) =>
        cause === 'UDP-NOPORT' && place.startsWith('dns-') ? [[place, share ? `${kind} share` : kind]] : [],
      ),
    );

  test('each proves its share, and together they explain the loss', () => {
    const conclusion = refused([104, 96]);
    expect(of(conclusion)).toEqual({ 'dns-1': 'proved share', 'dns-2': 'proved share' });
    expect(conclusion).toMatchObject({ kind: 'explained', says: 'UDP-NOPORT at dns-2 and UDP-NOPORT at dns-1' });
    expect(conclusion.accounts.map(openLoss)).toEqual([0]);
    expect(conclusion.roots.map(({ says }) => says)).toEqual([
      "UdpNoPorts +96 while 200 of 200 were lost (service); with the other endpoints' it is 200",
      "UdpNoPorts +104 while 200 of 200 were lost (service); with the other endpoints' it is 200",
    ]);
  });

  test.each([
    ['far too small', [70, 60] as [number, number], { 'dns-1': 'suspected', 'dns-2': 'suspected' }],
    ['far too big', [140, 150] as [number, number], { 'dns-1': 'suspected', 'dns-2': 'suspected' }],
    ['all at one of them', [0, 200] as [number, number], { 'dns-1': 'refuted', 'dns-2': 'proved' }],
  ])('what they count is %s', (_, counts, kinds) => {
    expect(of(refused(counts))).toEqual(kinds);
  });

  test('only endpoints have shares, and no place on the way', () => {
    expect(of(refused([104, 96], { role: 'hop' }))).toEqual({ 'dns-1': 'suspected', 'dns-2': 'suspected' });
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

test('what a plan touches names five Services and counts the rest; nothing that is not known reads as none', () => {
  const services = ['a', 'b', 'c', 'd', 'e', 'f', 'g'];
  expect(radiusLine({ flows: 1204, udp: 87, pods: 23, services })).toBe(
    '1,204 tracked flows (87 UDP flows); 23 pods; Services there: a, b, c, d, e, +2 more',
  );
  expect(radiusLine({ flows: 2, exact: true, services: ['shop/echo'] })).toBe('exactly 2 tracked flows; of Services: shop/echo'); // prettier-ignore
  expect(radiusLine({ flows: null, udp: null, pods: null, services: [], unlisted: 'forbidden' })).toBe(
    'an unknown number of tracked flows (an unknown number of UDP flows); an unknown number of pods; Services there: unknown (forbidden)',
  );
  expect(radiusLine({ flows: 0, services: [] })).toBe('0 tracked flows; Services there: none known');
});
