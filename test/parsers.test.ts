import { describe, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Sample } from '../domain/sample.ts';
import {
  parseDevices,
  parseFeatures,
  parseLinks,
  parseNeighbours,
  parseQdiscs,
  parseRoutes,
} from '../nodes/sampling/links.ts';
import { parseSample } from '../nodes/sampling/parse.ts';
import { SampleError, splitParts } from '../nodes/sampling/parts.ts';
import { parseIptables, parseNft } from '../nodes/sampling/rules.ts';
import { parseEntries, parseSockets } from '../nodes/sampling/tables.ts';
import { root } from './support/imports.ts';

const nonce = '0123456789abcdef';
/** What a sampler says: parts of lines, each with its status; `null` for one that was cut. */
function said(parts: Record<string, { lines: string[]; rc?: number | null }>): string {
  const text = Object.entries(parts).map(
    ([name, { lines, rc = 0 }]) =>
      `#${nonce} begin ${name}\n${lines.map((line) => `${line}\n`).join('')}${rc === null ? '' : `#${nonce} rc ${rc}`}\n#${nonce} end ${name}\n`,
  );
  return `${text.join('')}#${nonce} done\n`;
}
const identity = { lines: ['boot b1', 'netns net:[4026531840]', 'uptime 12.34', 'kernel 6.1.0', 'uid 0', 'tool tc', 'python /usr/bin/python3'] }; // prettier-ignore
const sampled = (parts: Record<string, { lines: string[]; rc?: number | null }>): Sample =>
  parseSample(said({ identity, ...parts }), nonce);

describe('a reading as a whole', () => {
  test('says whose it is', () => {
    expect(sampled({})).toMatchObject({ bootId: 'b1', netns: '4026531840', uptime: 12.34, root: true });
    expect(sampled({}).tools).toEqual(['tc', 'python']);
  });

  test.each([
    ['nothing', ''],
    ['a shell that complains', 'sh: 1: Syntax error: "(" unexpected\n'],
    ['binary', '\0\x01\uFFFD\uFFFD\n\0'],
    ["another reading's words", said({ identity }).replaceAll(nonce, 'fedcba9876543210')],
    ['no last line', said({ identity }).replace(`#${nonce} done\n`, '')],
  ])('%s is no sample', (_, output) => {
    expect(() => parseSample(output, nonce)).toThrow(SampleError);
    expect(() => parseSample(output, nonce)).toThrow(/broke off before its last line/);
  });

  test.each(['boot', 'netns', 'uptime'])('without its %s it is no sample either', (word) => {
    const lines = identity.lines.filter((line) => !line.startsWith(word));
    expect(() => parseSample(said({ identity: { lines } }), nonce)).toThrow(SampleError);
  });

  test('what a node prints cannot pose as a part, whatever it looks like', () => {
    const lines = ['#begin snmp', '#fedc rc 0', `x#${nonce} begin snmp`, 'UDP: done'];
    expect(splitParts(said({ log: { lines } }), nonce).get('log')).toEqual({ lines, cut: false });
  });

  test.each([
    [124, [], 'it took longer than 2 s and was given up'],
    [124, ['half a tab'], 'it took longer than 2 s and was given up'],
    [143, ['half a tab'], 'it took longer than 2 s and was given up'],
    [1, [], 'it failed with status 1'],
    [127, [], 'it failed with status 127'],
  ])('a part that ended with status %i and %j is missing and says why', (rc, lines, why) => {
    const sample = sampled({ udp: { lines, rc }, snmp: { lines, rc } });
    expect(sample.missing).toMatchObject({ udp: why, snmp: why });
    expect(sample.sockets).toEqual([]);
  });

  test('a part of which there is no trace is missing too, unless only full readings have it', () => {
    const { missing } = sampled({ udp: { lines: [] } });
    expect(missing).toMatchObject({ softnet: expect.stringContaining('cut off'), iptables: expect.any(String) });
    for (const part of ['udp', 'links', 'log', 'cpu']) expect(missing).not.toHaveProperty(part);
  });

  test('a part that was killed halfway, or cut at its bound, says so and gives only whole lines', () => {
    const lines = ['x.y: 1', 'link/ha'];
    for (const rc of [null, 137]) {
      expect(splitParts(said({ a: { lines, rc } }), nonce).get('a')).toEqual({ lines: ['x.y: 1'], cut: true });
      expect(sampled({ udp: { lines, rc } }).cut).toEqual(['udp']);
    }
  });

  test('of a table per processor half is not taken for the whole', () => {
    const rows = ['0000000a 00000001 00000000', '0000000b 00000002 00000000', '0000'];
    const sample = sampled({
      softnet: { lines: rows, rc: null },
      conntrack: { lines: ['entries drop', ...rows], rc: null },
    });
    expect(sample.counters).toEqual({});
    expect(sample.missing).toMatchObject({ softnet: expect.any(String), conntrack: expect.any(String) });
  });
});

/** Random, but the same in every run. */
function* chance(seed: number): Generator<number, never> {
  for (let state = seed; ;) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    yield state / 2 ** 32;
  }
}

describe('real output of a node, damaged', () => {
  const output = readFileSync(join(root, 'test/support/reading.txt'), 'utf8');
  const whole = parseSample(output, nonce);

  test('undamaged it is a full sample', () => {
    expect(Object.keys(whole.counters).length).toBeGreaterThan(50);
    expect(whole.rules.length).toBeGreaterThan(0);
    expect(Sample.parse(whole)).toEqual(whole);
  });

  test('cut anywhere it is void', () => {
    for (let end = 0; end < output.length - 1; end += 97)
      expect(() => parseSample(output.slice(0, end), nonce)).toThrow(SampleError);
  });

  test('with any part cut anywhere no counter differs: it is there and right, or not there', () => {
    const parts = output.split(/(?=#0123456789abcdef begin )/);
    for (const [index, part] of parts.entries()) {
      if (!part.includes(' begin ') || part.includes('begin identity')) continue;
      const [name] = /(?<=begin )\w+/.exec(part) ?? [''];
      const tail = part.slice(part.indexOf(`#${nonce} end`));
      for (let end = part.indexOf('\n') + 1; end < part.indexOf(`#${nonce} rc`); end += 53) {
        const damaged = [...parts.slice(0, index), `${part.slice(0, end)}\n${tail}`, ...parts.slice(index + 1)].join(
          '',
        );
        const sample = Sample.parse(parseSample(damaged, nonce));
        for (const map of ['counters', 'gauges', 'devices'] as const)
          for (const [key, value] of Object.entries(sample[map]))
            if (value !== whole[map][key])
              throw new Error(`${name} cut at ${end}: ${key} is ${value}, not ${whole[map][key]}`);
        expect([...sample.cut, ...Object.keys(sample.missing)]).toContain(name);
        // Where iptables' list ends early, nft's words for the same rules take its place.
        const own = sample.rules.filter(({ id }) => name !== 'iptables' || !id.startsWith('nft ip '));
        for (const rule of own) expect(whole.rules).toContainEqual(rule);
      }
    }
  });

  test('with bytes changed at random it gives a sample of the right types or a clear error', () => {
    const random = chance(7);
    const pick = (most: number): number => Math.floor(random.next().value * most);
    for (let round = 0; round < 500; round++) {
      const bytes = Buffer.from(output);
      for (let hit = 0; hit < 40; hit++) bytes[pick(bytes.length)] = pick(256);
      try {
        Sample.parse(parseSample(bytes.toString('utf8'), nonce));
      } catch (error) {
        expect(error).toBeInstanceOf(SampleError);
      }
    }
  });
});

describe('single tables', () => {
  test('a value that is not there or no number is absent, never zero', () => {
    const sample = sampled({
      snmp: { lines: ['Udp: InDatagrams NoPorts InErrors', 'Udp: 5 x', 'Ip: InReceives', 'Tcp: 4'] },
      sysctls: {
        lines: [
          'net/netfilter/nf_conntrack_max:',
          'net/netfilter/nf_conntrack_count:abc',
          'net/core/netdev_max_backlog:1\t2',
        ],
      },
      conntrack: { lines: ['entries drop insert_failed'] },
      arp: { lines: ['entries table_fulls', '00000001 zz'] },
      softnet: { lines: ['0000000a', '0000000b'] },
      dev: { lines: ['eth0:', 'eth1: a', 'eth2: 1 2'] },
      sockstat: { lines: ['FRAG: inuse x memory 5', 'UDP: inuse 5'] },
    });
    expect(sample.counters).toEqual({ UdpInDatagrams: 5 });
    expect(sample.gauges).toEqual({});
    expect(sample.devices).toEqual({});
  });

  test("what limits took from a pod's containers is added up, whatever the version of their cgroups", () => {
    const of = (lines: string[], rc: number | null = 0) => sampled({ cpu: { lines, rc } });
    const two = ['usage_usec 9', 'nr_periods 10', 'nr_throttled 3', 'throttled_usec 2500'];
    const one = ['nr_periods 5', 'nr_throttled 2', 'throttled_time 1500000', 'nr_bursts 0'];
    expect(of(two).counters).toEqual({ cpu_periods: 10, cpu_throttled: 3, cpu_throttled_usec: 2500 });
    expect(of([...two, ...one]).counters).toEqual({ cpu_periods: 15, cpu_throttled: 5, cpu_throttled_usec: 4000 });
    // Without the controller, and of what was not read to its end, nothing is known.
    expect(of(['usage_usec 9', 'nr_throttled x']).counters).toEqual({});
    expect(of(two, null)).toMatchObject({ counters: {}, missing: { cpu: expect.stringContaining('cut') } });
  });

  test('drops per device, whose names have what they like in them', () => {
    const sample = sampled({
      dev: { lines: ['eth0: 5', 'eth0.7@x: 6'] },
      qdisc: { lines: ['qdisc mq 0: dev eth0 root', ' Sent 1 bytes 1 pkt (dropped 64, overlimits 0 requeues 0)', 'qdisc fq_codel 0: dev eth0 parent :1', ' Sent 1 bytes 1 pkt (dropped 1, overlimits 0 requeues 0)'] },
      nicstats: { lines: ['device eth0', '     rx_missed_errors: 7', '     rx_x: y'] },
    }); // prettier-ignore
    expect(sample.devices).toEqual({
      'link.eth0.tx_dropped': 5,
      'link.eth0.7@x.tx_dropped': 6,
      'qdisc.eth0.mq.dropped': 64,
      'nic.eth0.rx_missed_errors': 7,
    });
  });

  test('tables per processor are summed by the names of their columns, of old and new kernels', () => {
    const conntrack = { lines: ['entries clashres found invalid drop', '0000000a 00000001 00000002 00000003 00000004', '0000000a 00000001 0000000f 00000000 00000010'] }; // prettier-ignore
    expect(sampled({ conntrack }).counters).toEqual({ conntrack_clash_resolve: 2, conntrack_found: 17, conntrack_invalid: 3, conntrack_drop: 20 }); // prettier-ignore
  });

  test('rules: what loses datagrams, with counters; comments and prefixes are no verdicts', () => {
    const { rules } = parseIptables([
      '*filter', ':FORWARD DROP [7:420]', ':INPUT ACCEPT [9:1]',
      '[3:90] -A INPUT -p udp -m udp --dport 53 -j DROP',
      '[4:90] -A INPUT -p udp -m udp --dport 53 -j DROP',
      '[5:90] -A INPUT -m comment --comment "was: -j DROP" -j ACCEPT',
      '[5:90] -A INPUT -m comment --comment "a \\" -j DROP" -j LOG --log-prefix "x -j REJECT "',
      '[6:90] -A INPUT ! -p tcp -j REJECT --reject-with icmp-port-unreachable',
      '[6:90] -A INPUT ! -p udp -j DROP',
      '[8:90] -A INPUT -m conntrack --ctstate INVALID -j DROP',
      '[x:90] -A INPUT -j DROP', '-A INPUT -j DROP', 'garbage', '',
    ]); // prettier-ignore
    expect(rules.map(({ packets, verdict, protocol, invalid }) => [packets, verdict, protocol, invalid])).toEqual([
      [7, 'drop', 'udp', false],
      [3, 'drop', 'udp', false],
      [4, 'drop', 'udp', false],
      [6, 'reject', 'udp', false],
      [6, 'drop', 'other', false],
      [8, 'drop', 'udp', true],
    ]);
    expect(new Set(rules.map(({ id }) => id)).size).toBe(rules.length);
  });

  test.each([
    ['-m conntrack --ctstate INVALID', true],
    ['-m state --state INVALID', true],
    ['-m conntrack --ctstate INVALID -m limit --limit 5/min', true],
    ['-m conntrack --ctstate INVALID,NEW', false],
    ['-m conntrack --ctstate NEW,INVALID', false],
    ['-m conntrack ! --ctstate INVALID', false],
    ['-m state ! --state INVALID', false],
    ['-p udp', false],
  ])('an iptables rule with %s drops only what is INVALID: %s', (match, invalid) => {
    expect(parseIptables(['*filter', `[1:1] -A INPUT ${match} -j DROP`]).rules).toMatchObject([{ invalid }]);
  });

  test.each([
    ['ct state invalid', true],
    ['ct state { invalid }', true],
    ['ct state invalid,new', false],
    ['ct state { invalid, new }', false],
    ['ct state { new, invalid }', false],
    ['ct state != invalid', false],
    ['ct state new', false],
  ])('an nft rule with %s drops only what is INVALID: %s', (match, invalid) => {
    const lines = ['table inet fw {', '\tchain in {', `\t\t${match} counter packets 1 bytes 1 drop`];
    expect(parseNft(lines, new Set())).toMatchObject([{ invalid }]);
  });

  test('what iptables shows is left out of the list of nft, and nothing else', () => {
    const chain = (table: string): string[] => [`table ${table} {`, '\tchain INPUT {', '\t\tudp dport 53 counter packets 5 bytes 300 drop', '\t}', '}']; // prettier-ignore
    const nft = { lines: ['ip filter', 'ip6 filter', 'ip nat', 'inet filter'].flatMap(chain) };
    const rules = (iptables: string[]): string[] => sampled({ iptables: { lines: iptables }, nft }).rules.map(({ id }) => id.split(':')[0] ?? ''); // prettier-ignore
    const own = '[5:300] -A INPUT -p udp -m udp --dport 53 -j DROP';
    expect(rules(['# Generated by iptables-save v1.8.9 (nf_tables)', '*filter', own])).toEqual(['filter', 'nft ip6 filter INPUT', 'nft ip nat INPUT', 'nft inet filter INPUT']); // prettier-ignore
    expect(rules(['# Generated by iptables-save v1.8.9', '*filter', own])).toHaveLength(5);
  });

  test('rules of old tables beside those of nf_tables count too, by another name', () => {
    const lines = ['*filter', '[5:300] -A INPUT -p udp -m udp --dport 53 -j DROP'];
    const { rules } = sampled({ iptables: { lines }, legacy: { lines } });
    expect(rules.map(({ id }) => id)).toEqual(['filter: -A INPUT -p udp -m udp --dport 53 -j DROP', 'legacy filter: -A INPUT -p udp -m udp --dport 53 -j DROP']); // prettier-ignore
  });

  test('nft rules: verdicts are statements, not names, comments or prefixes', () => {
    const rules = parseNft(
      [
        'table inet fw {', '\tchain in {', '\t\ttype filter hook input priority filter; policy drop;',
        '\t\tudp dport 53 counter packets 5 bytes 300 drop',
        '\t\tudp dport 53 counter packets 6 bytes 1 log prefix "drop " accept',
        '\t\tudp dport 54 counter packets 7 bytes 1 jump drop-later',
        '\t\tudp dport 55 counter packets 8 bytes 1 accept comment "no drop here"',
        '\t\tudp dport 56 drop',
        '\t}', '}', 'table ip nat {', '\tchain post {', '\t\tmasquerade fully-random', '\t}', '}',
      ],
      new Set(['ip nat']),
    ); // prettier-ignore
    expect(rules.map(({ packets, verdict }) => [packets, verdict])).toEqual([[null, 'drop'], [5, 'drop'], [null, 'drop']]); // prettier-ignore
  });

  test('lines that are cut, garbled or foreign are left out', () => {
    expect(parseLinks(['2: eth0@if3: <BROADCAST,UP> mtu 1450 qdisc noqueue state UP link/ether veth addrgenmode', '3: eth1: <BRO', '', 'x'])).toEqual([{ name: 'eth0', mtu: 1450, kind: 'veth', up: true }]); // prettier-ignore
    expect(parseDevices(['eth0', ':', 'eth0:', 'eth0: 1 2', 'eth0: x'])).toEqual({});
    expect(
      parseQdiscs([' Sent 5 bytes 5 pkt (dropped 9, overlimits', 'qdisc tbf 1: dev eth0 root', ' Sent 5 bytes']),
    ).toEqual({});
    expect(parseFeatures(['tx-checksumming: on', 'device eth0', 'Features for eth0:', 'tso: maybe'])).toEqual({
      eth0: {},
    });
    expect(parseNeighbours(['10.0.0.9 dev eth0 FAILED', '10.0.0.8 dev', 'failed'])).toEqual([{ address: '10.0.0.9', device: 'eth0', state: 'FAILED' }]); // prettier-ignore
    expect(parseRoutes(['10.0.0.1 dev eth0', 'to 10.0.0.9', 'RTNETLINK answers: Network is unreachable', 'to 10.0.0.8'])).toEqual({ '10.0.0.9': { device: '', error: 'Network is unreachable' } }); // prettier-ignore
    expect(parseEntries(['udp 17 29 src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 [UNREPLIED] src=10.0.0.2', 'tcp 6 1', 'udp 17 x src=1'])).toEqual([]); // prettier-ignore
    expect(parseSockets(['  sl  local_address', ' 1: 00000000:0035 00000000:0000 07 000'])).toEqual([]);
  });
});
