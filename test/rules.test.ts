import { describe, expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import {
  type ApprovalPolicy,
  type Decision,
  type RecordedDecision,
  keyFor,
  outcome,
  refusal,
  signedText,
} from '../domain/approval.ts';
import { ExpressionError, expression, shown, template } from '../domain/cel.ts';
import { digestOf } from '../domain/digest.ts';
import { type Operation, allowedSysctls, described, forbidden, reversible } from '../domain/operation.ts';

describe('approval', () => {
  const policy: ApprovalPolicy = {
    digest: 'a'.repeat(64),
    requester: 'rita',
    approvers: ['ann', 'bob', 'rita'].map((name) => ({ name, key: 'ssh-ed25519 AAAA', groups: [] })),
    needs: [{ quorum: 2 }],
    expiresAt: 1000,
  };
  const decision = (change: Partial<Decision> = {}): Omit<Decision, 'signature'> => ({
    digest: policy.digest,
    decision: 'approve',
    principal: 'ann',
    reason: '',
    ...change, // prettier-ignore
  });
  const recorded = (principal: string, change: Partial<RecordedDecision> = {}): RecordedDecision => ({
    decision: 'approve',
    principal,
    reason: '',
    at: 1,
    ...change, // prettier-ignore
  });

  test.each([
    ['a good one', [], decision(), 999, undefined],
    ['a second good one', [recorded('bob')], decision(), 999, undefined],
    ['another digest', [], decision({ digest: 'b'.repeat(64) }), 1, /has the digest aaaaaaaaaaaa, not bbbbbbbbbbbb/],
    ['the moment of expiry', [], decision(), 1000, /expired/],
    ['whoever asked for the plan', [], decision({ principal: 'rita' }), 1, /rita asked for this plan/],
    [
      'whoever asked for it, rejecting',
      [],
      decision({ principal: 'rita', decision: 'reject', reason: 'no' }),
      1,
      /rita asked/,
    ],
    [
      'an unknown principal',
      [],
      decision({ principal: 'eve' }),
      1,
      /eve is not among the approvers \(ann, bob, rita\)/,
    ],
    ['nobody', [], decision({ principal: '' }), 1, /not among the approvers/],
    ['a second decision', [recorded('ann')], decision(), 1, /ann has already decided/],
    ['a change of mind', [recorded('ann')], decision({ decision: 'reject', reason: 'no' }), 1, /already decided/],
    ['a rejection without a reason', [], decision({ decision: 'reject', reason: ' \n' }), 1, /needs a reason/],
    ['a rejection with a reason', [], decision({ decision: 'reject', reason: 'not now' }), 1, undefined],
    ['a decision after the last', [recorded('bob'), recorded('carl')], decision(), 1, /already approved/],
    ['one after a rejection', [recorded('bob', { decision: 'reject' })], decision(), 1, /already rejected/],
    ['one after a refused one of the same person', [recorded('ann', { refused: 'expired' })], decision(), 1, undefined],
  ] as [string, RecordedDecision[], Omit<Decision, 'signature'>, number, RegExp | undefined][])(
    '%s',
    (_, past, one, now, why) => {
      const found = refusal(policy, past, one, now);
      if (why) expect(found).toMatch(why);
      else expect(found).toBeUndefined();
    },
  );

  test('groups: each need is met by other people, whoever is of two groups takes one seat', () => {
    const people = { ann: ['sre'], bob: ['sre', 'network'], carl: ['network'], dora: [] as string[] };
    const approvers = Object.entries(people).map(([name, groups]) => ({ name, groups }));
    const two = { ...policy, approvers, needs: [{ group: 'sre', quorum: 1 }, { group: 'network', quorum: 1 }] }; // prettier-ignore
    const after = (...names: string[]): string =>
      outcome(
        two,
        names.map((name) => recorded(name)),
      );
    expect(['bob', 'ann', 'carl'].map((name) => after(name))).toEqual(['open', 'open', 'open']);
    expect([after('ann', 'bob'), after('bob', 'ann'), after('bob', 'carl'), after('ann', 'carl')]).toEqual(
      Array(4).fill('approved'),
    );
    expect(refusal(two, [], decision({ principal: 'dora' }), 1)).toMatch(/1 of sre, 1 of network, and dora is of none/);
    expect(refusal(two, [], decision({ principal: 'dora', decision: 'reject', reason: 'no' }), 1)).toBeUndefined();
    expect(outcome({ ...two, needs: [] }, [recorded('ann')])).toBe('open');
  });

  test("a decision through a gateway is checked by the gateway's key, never by the person's or another's", () => {
    const rules = { approvers: [{ name: 'ann', key: 'own', groups: [] }, { name: 'bob', groups: [] }], gateways: [{ name: 'door', key: 'gate' }] }; // prettier-ignore
    const key = (principal: string, via?: string): string | undefined =>
      keyFor(rules, { principal, ...(via !== undefined && { via }) });
    expect([key('ann'), key('ann', 'door'), key('bob'), key('bob', 'door'), key('ann', 'other')]).toEqual(
      ['own', 'gate', undefined, 'gate', undefined], // prettier-ignore
    );
    expect(signedText('w', decision({ via: 'door' }))).not.toBe(signedText('w', decision()));
  });

  test('a quorum of two needs two that count, and one rejection ends it', () => {
    expect(outcome(policy, [])).toBe('open');
    expect(outcome(policy, [recorded('ann')])).toBe('open');
    expect(outcome(policy, [recorded('ann'), recorded('bob', { refused: 'expired' })])).toBe('open');
    expect(outcome(policy, [recorded('ann'), recorded('bob')])).toBe('approved');
    expect(outcome(policy, [recorded('ann'), recorded('bob', { decision: 'reject' })])).toBe('rejected');
    expect(outcome(policy, [recorded('ann', { decision: 'reject', refused: 'no' })])).toBe('open');
  });

  test('what is signed differs for every plan, run, answer, person and reason', () => {
    const texts = [
      signedText('run', decision()),
      signedText('other', decision()),
      signedText('run', decision({ digest: 'b' })),
      signedText('run', decision({ decision: 'reject' })),
      signedText('run', decision({ principal: 'bob' })),
      signedText('run', decision({ reason: 'x' })),
    ];
    expect(new Set(texts).size).toBe(texts.length);
  });
});

describe('operations', () => {
  const sysctl = (key: string, after: number): Operation => ({ kind: 'sysctl.set', key, before: 1, after });
  const entry = (change: object): Operation => ({
    kind: 'conntrack.delete',
    source: '10.0.0.1',
    sourcePort: 5,
    destination: 'fd00::1',
    destinationPort: 53,
    replySource: '10.0.0.3',
    ...change, // prettier-ignore
  });
  const offload = (device: string, name: string): Operation => ({
    kind: 'offload.set',
    device,
    before: { [name]: true },
    after: { [name]: false },
  });

  test.each([
    sysctl('net.core.netdev_max_backlog', 100),
    sysctl('net.core.netdev_max_backlog', 100_000),
    offload('eth0', 'tx-checksum-ip-generic'),
    entry({}),
  ])('allowed: %j', (operation) => expect(forbidden(operation)).toBeUndefined());

  test.each([
    sysctl('kernel.core_pattern', 5000),
    sysctl('net.core.netdev_max_backlog/../../../kernel/panic', 5000),
    sysctl('constructor', 5000),
    sysctl('net.core.netdev_max_backlog', 99),
    sysctl('net.core.netdev_max_backlog', 100_001),
    sysctl('net.core.netdev_max_backlog', 1000.5),
    sysctl('net.core.netdev_max_backlog', Number.NaN),
    sysctl('net.core.netdev_max_backlog', Number.POSITIVE_INFINITY),
    offload('eth0; reboot', 'tx'),
    offload('$(reboot)', 'tx'),
    offload('', 'tx'),
    offload('eth0', 'tx off rx'),
    entry({ source: '*' }),
    entry({ source: '10.0.0.1,5,10.0.0.2' }),
    entry({ replySource: '' }),
    entry({ sourcePort: 0 }),
    entry({ destinationPort: 1.5 }),
  ])('refused: %j', (operation) => expect(forbidden(operation)).toEqual(expect.any(String)));

  test('every allowed setting has a range, and only deletions cannot be undone', () => {
    for (const { least, most } of Object.values(allowedSysctls)) expect(least).toBeLessThan(most);
    expect([sysctl('x', 1), offload('eth0', 'tx'), entry({})].map(reversible)).toEqual([true, true, false]);
    expect(described(entry({}))).toMatch(/10\.0\.0\.1:5 -> fd00::1:53.*cannot be undone/);
  });
});

describe('a digest', () => {
  test('is SHA-256 of the canonical text, whatever the order of keys', () => {
    const text = '{"a":[1,{"c":null,"d":"é"}],"b":0.1}';
    const digest = createHash('sha256').update(text).digest('hex');
    expect(digestOf({ b: 0.1, a: [1, { d: 'é', c: null }] })).toBe(digest);
    expect(digestOf({ a: [1, { c: null, d: 'é' }], b: 0.1, none: undefined })).toBe(digest);
  });

  test('differs for any other content, order of a list included', () => {
    const all = [{ a: [1, 2] }, { a: [2, 1] }, { a: ['1', 2] }, { a: [1, 2, null] }, { b: [1, 2] }, {}, [], '', null];
    expect(new Set(all.map(digestOf)).size).toBe(all.length);
  });

  test('a number that no text can hold is refused', () => expect(() => digestOf({ a: Number.NaN })).toThrow());
});

describe('expressions of the runbook', () => {
  test.each([
    ['a counter that is not there', 'delta.UdpNoPort > 0', /delta\.UdpNoPort: there is no such counter/],
    ['a setting that is not there', 'after.nf_conntrack_maximum > 0', /there is no such counter or setting/],
    ['a name that every JavaScript object has', 'delta.constructor > 0', /delta\.constructor/],
    ['one deep inside', 'probe.lost > 2 && (true || [1, delta.Nope].size() > 0)', /delta\.Nope/],
    ['an unknown word', 'prob.lost > 2', /prob/],
    ['a syntax error', 'probe.lost >', /./],
    ['no expression', '', /./],
    ['types that do not fit', '"a" - 1', /./],
  ])('%s is found before anything runs', (_, text, why) => {
    expect(() => expression(text)).toThrow(why);
  });

  test('the words of a step are not those of a cause', () => {
    expect(() => expression('delta.UdpNoPorts > 0', 'step')).toThrow(ExpressionError);
  });

  test('numbers are numbers, whole or not', () => {
    const facts = { delta: { UdpNoPorts: 8 }, probe: { lost: 10, sent: 40 } };
    expect(expression('delta.UdpNoPorts >= 0.8 * probe.lost').evaluate(facts)).toBe(true);
    expect(expression('probe.lost * 100 / probe.sent').evaluate(facts)).toBe(25);
    expect(expression('min(probe.lost, 3) + max(1, 2)').evaluate(facts)).toBe(5);
    expect(expression('1 + 1').evaluate(facts)).toBe(2);
  });

  test('what is missing at run time throws and says what, and is never zero', () => {
    expect(() => expression('delta.UdpNoPorts > 0').evaluate({ delta: {} })).toThrow(/UdpNoPorts/);
  });

  test('texts are checked and filled alike', () => {
    expect(template('lost {probe.lost} of {probe.sent}')({ probe: { lost: 7841, sent: 10_000.456 } })).toBe(
      'lost 7,841 of 10,000.46',
    );
    expect(() => template('lost {delta.Nope}')).toThrow(/Nope/);
    expect(shown(0)).toBe('0');
  });
});
