import { describe, expect, test } from '@jest/globals';
import type { Client } from '@temporalio/client';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Automatic, breakerOf, budgetOf } from '../domain/automatic.ts';
import type { Plan } from '../domain/plan.ts';
import { Policy, type PolicyWindow } from '../domain/policy.ts';
import { fits } from '../domain/globs.ts';
import { type PolicyContext, judgePolicy, judgementText } from '../domain/remit.ts';
import { isOpen } from '../domain/windows.ts';
import { parseYaml } from '../domain/yaml.ts';
import { ledgerOf } from '../worker/ledger.ts';
import { root } from './support/imports.ts';

const at = (text: string): number => Date.parse(text);
const now = at('2026-11-25T12:00:00Z');

const standing = {
  name: 'offload',
  mode: 'active',
  remedies: ['disable-tx-checksum'],
  approvals: 'none',
  standing: { by: ['alice'], given: '2026-11-01', until: '2026-12-01' },
  largest: { nodes: 1, flows: 100, services: 1 },
};
const policyOf = (rule: object, more: object = {}): Policy =>
  Policy.parse({ rules: [{ ...standing, ...rule }], ...more });
const plan = (change: Partial<Plan> = {}): Plan => ({
  run: 'r', inventory: 'i', target: 'web->service/shop/dns', requester: 'alert', expiresAt: 0, runbook: '', evidence: '',
  remedy: 'disable-tx-checksum', title: '', verify: [], predict: '', withinSeconds: 5, revertAfterSeconds: 65, risk: 'medium',
  cost: '', owner: '', lasts: '', reversible: true, radius: { flows: 50, services: ['dns'] },
  changes: [{ place: 'n1', node: 'n1', reach: '', cause: 'OFFLOAD-CSUM-TX', operations: [] }], ...change,
}); // prettier-ignore
const context = (change: Partial<PolicyContext> = {}): PolicyContext => ({
  now,
  needs: [{ quorum: 2 }],
  approvers: ['alice', 'bob'],
  proved: true,
  automatic: [],
  ...change,
});
const people = [{ quorum: 2 }];

describe('windows, by the clock on the wall', () => {
  const night: PolicyWindow = { days: ['fri'], from: '22:00', to: '04:00', zone: 'Europe/Berlin' };
  const early: PolicyWindow = { from: '02:00', to: '03:00', zone: 'Europe/Berlin' };
  test.each<[string, PolicyWindow, string, boolean]>([
    ['Friday at its first minute', night, '2026-11-27T22:00:00+01:00', true],
    ['a minute before', night, '2026-11-27T21:59:59+01:00', false],
    ['Saturday morning, of the window that opened on Friday', night, '2026-11-28T03:59:59+01:00', true],
    ['its end', night, '2026-11-28T04:00:00+01:00', false],
    ['Saturday night', night, '2026-11-28T23:00:00+01:00', false],
    ['Friday morning, which would be of Thursday', night, '2026-11-27T03:00:00+01:00', false],
    ['Sunday into Monday', { ...night, days: ['sun'] }, '2026-11-30T01:00:00+01:00', true],
    ['midnight as an end', { ...night, from: '20:00', to: '24:00' }, '2026-11-27T23:59:59+01:00', true],
    ['and not after it', { ...night, from: '20:00', to: '24:00' }, '2026-11-28T00:00:00+01:00', false],
    ['in summer the same hour by the wall', night, '2026-07-03T22:30:00+02:00', true],
    ['which in winter is another one of UTC', night, '2026-11-27T20:30:00Z', false],
    ['in summer it is in it', night, '2026-07-03T20:30:00Z', true],
    ['the hour that the clock skips in March is in no window', early, '2026-03-29T01:30:00Z', false],
    ['the hour before it', early, '2026-03-29T00:30:00Z', false],
    ['the hour that comes twice in October, first time', early, '2026-10-25T00:30:00Z', true],
    ['and second time', early, '2026-10-25T01:30:00Z', true],
    ['and then no more', early, '2026-10-25T02:30:00Z', false],
    ['another zone', { ...night, zone: 'Asia/Kolkata' }, '2026-11-27T17:00:00Z', true],
  ])('%s', (_, window, moment, open) => expect(isOpen(window, at(moment))).toBe(open));
});

describe('a standing approval holds, or people are asked, with the number that decides', () => {
  test.each<[string, Policy, Plan, PolicyContext, RegExp | undefined]>([
    ['within all limits', policyOf({}), plan(), context(), undefined],
    ['a flow too many', policyOf({}), plan({ radius: { flows: 101, services: [] } }), context(), /101 tracked flows, at most 100/],
    ['an unknown number of flows', policyOf({}), plan({ radius: { flows: null, services: [] } }), context(), /an unknown number of tracked flows, at most 100/],
    ['any number of flows, also unknown', policyOf({ largest: { nodes: 1, flows: 'any', services: 1 } }), plan({ radius: { flows: null, services: [] } }), context(), undefined],
    ['too many Services', policyOf({}), plan({ radius: { flows: 1, services: ['a', 'b'] } }), context(), /2 Services, at most 1/],
    ['Services that are not known', policyOf({}), plan({ radius: { flows: 1, services: [], unlisted: 'forbidden' } }), context(), /an unknown number of Services/],
    ['two nodes', policyOf({}), plan({ changes: ['n1', 'n2'].map((node) => ({ place: node, node, reach: '', cause: 'X', operations: [] })) }), context(), /2 nodes, at most 1/],
    ['what cannot be undone', policyOf({}), plan({ reversible: false }), context(), /cannot be undone/],
    ['what cannot be undone, where the rule says so', policyOf({ irreversible: true }), plan({ reversible: false }), context(), undefined],
    ['a remedy that somebody chose', policyOf({}), plan(), context({ proved: false }), /no proved cause names it/],
    ['its last day', policyOf({}), plan(), context({ now: at('2026-12-01T23:59:59Z') }), undefined],
    ['the day after', policyOf({}), plan(), context({ now: at('2026-12-02T00:00:00Z') }), /alice expired on 2026-12-01/],
    ['the day before', policyOf({}), plan(), context({ now: at('2026-10-31T23:59:59Z') }), /begins on 2026-11-01/],
    ['given by somebody who is no approver', policyOf({}), plan(), context({ approvers: ['bob'] }), /alice, who is not among the approvers/],
    ['asked for by the only one who gave it', policyOf({}), plan({ requester: 'alice' }), context(), /alice alone, who asked/],
    ['outside of its windows', policyOf({ windows: [{ days: ['mon'], from: '08:00', to: '18:00', zone: 'UTC' }] }), plan(), context(), /outside of mon 08:00 to 18:00 UTC/],
    ['in one of its windows', policyOf({ windows: [{ from: '01:00', to: '02:00', zone: 'UTC' }, { days: ['wed'], from: '08:00', to: '18:00', zone: 'UTC' }] }), plan(), context(), undefined],
    ['a freeze of the rule', policyOf({ freezes: [{ from: '2026-11-25T12:00:00Z', to: '2026-11-26T00:00:00Z', reason: 'sale' }] }), plan(), context(), /frozen until 2026-11-26T00:00:00Z: sale/],
    ['a freeze of the whole', policyOf({}, { freezes: [{ from: '2026-11-25T10:00:00+01:00', to: '2026-11-25T14:00:00+01:00', reason: 'move' }] }), plan(), context(), /frozen until .*: move/],
    ['the end of a freeze', policyOf({}, { freezes: [{ from: '2026-11-24T12:00:00Z', to: '2026-11-25T12:00:00Z', reason: 'move' }] }), plan(), context(), undefined],
  ])('%s', (_, policy, one, held, why) => {
    const judged = judgePolicy(policy, one, held);
    expect(judged.rule).toBe('offload');
    expect(judged.approvals).toEqual(why ? people : 'standing');
    if (why) expect(judged.against.join('; ')).toMatch(why);
    else expect(judged.against).toEqual([]);
    if (why) expect(judgePolicy({ ...policy, rules: policy.rules.map((rule) => ({ ...rule, otherwise: 'refuse' as const })) }, one, held).approvals).toBe('refused');
  }); // prettier-ignore

  test('every limit is said with its number, also those that hold', () => {
    expect(judgePolicy(policyOf({}), plan(), context()).why).toEqual([
      'standing approval of alice until 2026-12-01',
      '1 nodes, at most 1',
      '50 tracked flows, at most 100',
      '1 Services, at most 1',
      '0 of at most 1 automatic changes in progress',
      '0 failed changes of this rule in 24 hours, the budget ends at 1',
      '0 of the last 0 automatic changes failed, 3 of 10 open the breaker',
    ]);
  });
});

describe('which rule decides', () => {
  const two = Policy.parse({
    rules: [
      { name: 'db', mode: 'active', targets: ['*->service/db/*'], approvals: [{ group: 'sre' }, { group: 'db' }] },
      standing,
      { name: 'rest', mode: 'active', approvals: [{ group: 'sre', quorum: 2 }], irreversible: true },
    ],
  });
  test.each<[string, Partial<Plan>, string, unknown]>([
    ['the first that matches, though a later one would too', { target: 'web->service/db/main' }, 'db', [{ group: 'sre', quorum: 1 }, { group: 'db', quorum: 1 }]],
    ['the next', {}, 'offload', 'standing'],
    ['the last', { remedy: 'delete-stale-entries', reversible: false }, 'rest', [{ group: 'sre', quorum: 2 }]],
    ['a target that is not known matches no pattern', { target: undefined as unknown as string }, 'offload', 'standing'],
  ])('%s', (_, change, rule, approvals) => {
    expect(judgePolicy(two, plan(change), context())).toMatchObject({ rule, approvals });
  }); // prettier-ignore

  test.each<[string, object, Partial<Plan>]>([
    ['remedy', { remedies: ['raise-conntrack-max'] }, {}],
    ['risk', { risks: ['low'] }, {}],
    ['cause', { causes: ['CT-FULL'] }, {}],
    ['node', { nodes: ['worker-*'] }, {}],
    ['Service', { services: ['web*'] }, {}],
    ['one of several Services', { services: ['dns'] }, { radius: { flows: 1, services: ['dns', 'db'] } }],
    ['Services, where none is known', { services: ['*'] }, { radius: { flows: 1, services: [] } }],
    ['target', { targets: ['db->*'] }, {}],
    ['end of the target, one of two,', { targets: ['web*'] }, { target: 'web->service/db/main' }],
    ['requester', { requesters: ['schedule'] }, {}],
  ])('none where the %s is another: then people, as the inventory says', (_, rule, change) => {
    const judged = judgePolicy(policyOf(rule), plan(change), context());
    expect(judged).toMatchObject({ approvals: people, why: ['no rule matches, so people decide'] });
    expect(judged.rule).toBeUndefined();
  });

  test('a policy without rules needs people for everything', () =>
    expect(judgePolicy(Policy.parse({ rules: [] }), plan(), context()).approvals).toEqual(people));

  test('beyond the limits of a rule of people nobody may, unless it says otherwise', () => {
    const windows = [{ days: ['mon'], from: '08:00', to: '18:00', zone: 'UTC' }];
    const rule = { name: 'sre', mode: 'active', approvals: [{ group: 'sre', quorum: 1 }], windows };
    const judged = (more: object) => judgePolicy(Policy.parse({ rules: [{ ...rule, ...more }] }), plan(), context());
    expect(judged({}).approvals).toBe('refused');
    expect(judged({ otherwise: 'people' }).approvals).toEqual([{ group: 'sre', quorum: 1 }]);
  });

  test('a shadow changes nothing, and says what it would have done; it is the default', () => {
    const judged = judgePolicy(policyOf({ mode: undefined }), plan(), context());
    expect(judged).toMatchObject({ shadow: true, approvals: people, would: 'standing' });
    expect(judgementText(judged)).toMatch(
      /^shadow: rule offload would have said "needs nobody" \(standing approval of/,
    );
    const refused = policyOf({ mode: 'shadow', otherwise: 'refuse' });
    expect(judgePolicy(refused, plan({ reversible: false }), context())).toMatchObject({ approvals: people, would: 'refused' }); // prettier-ignore
  });

  test.each([
    ['a*c', 'abc', true], ['a*c', 'ac', true], ['a*c', 'ab', false], ['*', '', true], ['a*a', 'a', false], ['*b*', 'abc', true], ['a.c', 'abc', false],
    ['*a*a*', 'a', false], ['*aab', 'aaab', true], ['n1', 'n10', false], [`${'*a'.repeat(50)}b`, 'a'.repeat(5000), false],
  ])('the pattern %s on %s', (glob, text, expected) => expect(fits(glob, text)).toBe(expected)); // prettier-ignore
});

describe('budget and breaker count what was tried', () => {
  const minutes = (count: number): number => now - count * 60_000;
  const change = (ago: number, outcome?: string, more: Partial<Automatic> = {}): Automatic => ({
    permit: `permit/i/offload/${ago}`,
    rule: 'offload',
    startedAt: minutes(ago + 1),
    endedAt: minutes(ago),
    ...(outcome !== undefined && { outcome }),
    ...more,
  });
  const running = (ago: number, permit: string): Automatic => ({ permit, rule: 'x', startedAt: minutes(ago) });
  const policy = policyOf({ errorBudget: { failures: 2, perHours: 1 } }, { breaker: { failures: 2, of: 3, cooldownMinutes: 30 } }); // prettier-ignore

  test.each<[string, Automatic[], boolean, RegExp]>([
    ['nothing yet', [], true, /0 of the last 0/],
    ['one failure', [change(5, 'reverted')], true, /1 of the last 1/],
    ['two', [change(5, 'reverted'), change(6, 'stuck')], false, /2 of the last 2 .* 5 of 30 minutes/],
    ['two of any rule', [change(5, 'reverted'), change(6, 'reverted', { rule: 'other' })], false, /open/],
    ['one that ended without a word', [change(5), change(6, 'conflict')], false, /open/],
    ['refused and healed ones were not tried', [change(5, 'refused'), change(6, 'healed'), change(7, 'reverted')], true, /1 of the last 1/],
    ['pushed out by successes', [change(1, 'confirmed'), change(2, 'confirmed'), change(5, 'reverted'), change(6, 'reverted')], true, /1 of the last 3/],
    ['after the cool-down: half open', [change(31, 'reverted'), change(32, 'reverted')], true, /half open.*0 others/],
    ['half open, and one is on trial', [change(31, 'reverted'), change(32, 'reverted'), running(1, 'p')], false, /half open.*1 others/],
    ['the trial failed: open again', [change(1, 'reverted'), change(31, 'reverted'), change(32, 'reverted')], false, /open/],
  ])('breaker: %s', (_, all, holds, says) => {
    const limit = breakerOf(policy, all, now);
    expect(limit.holds).toBe(holds);
    expect(limit.says).toMatch(says);
    expect(judgePolicy({ ...policy, rules: policy.rules.map((rule) => ({ ...rule, errorBudget: { failures: 99, perHours: 1 } })) }, plan(), context({ automatic: all })).approvals).toEqual(holds ? 'standing' : people);
  }); // prettier-ignore

  test('half open, of two that are in progress the first goes on', () => {
    const all = [change(31, 'reverted'), change(32, 'reverted'), running(2, 'first'), running(1, 'second')];
    expect(breakerOf(policy, all, now, 'first').holds).toBe(true);
    expect(breakerOf(policy, all, now, 'second').holds).toBe(false);
  });

  test('the budget is of one rule, and of its hours', () => {
    const [rule] = policy.rules;
    if (!rule) throw new Error('there is no rule');
    const used = (...all: Automatic[]): boolean => budgetOf(rule, all, now).holds;
    expect(used(change(5, 'reverted'))).toBe(true);
    expect(used(change(5, 'reverted'), change(10, 'reverted'))).toBe(false);
    expect(used(change(5, 'reverted'), change(10, 'reverted', { rule: 'other' }))).toBe(true);
    expect(used(change(5, 'reverted'), change(61, 'reverted'))).toBe(true);
  });
});

describe('the ledger', () => {
  /** What the server lists, the newest first. */
  const ledger = (list: () => Iterable<object>) => ledgerOf({ workflow: { list } } as unknown as Client, 'queue', 'i');
  const permit = (rule: string, outcome: string, minutesAgo: number) => ({
    workflowId: `permit/i/${rule}/0`,
    memo: { outcome },
    startTime: new Date(now - minutesAgo * 60_000),
    closeTime: new Date(now - minutesAgo * 60_000 + 30_000),
    parentExecution: { workflowId: 'change/i/n1' },
  });
  const rare = policyOf({ errorBudget: { failures: 1, perHours: 8760 } });

  test('finds the failure of a rare rule behind all that a busy one has done', async () => {
    const busy = Array.from({ length: 3_000 }, (_, index) => permit('busy', 'confirmed', index + 1));
    const automatic = await ledger(() => [...busy, permit('offload', 'reverted', 3_001)]).automatic(0);
    const judged = judgePolicy(rare, plan(), context({ automatic }));
    expect(judged.approvals).toEqual(people);
    expect(judged.against).toEqual(['1 failed changes of this rule in 8760 hours, the budget ends at 1']);
    const without = await ledger(() => busy).automatic(0);
    expect(judgePolicy(rare, plan(), context({ automatic: without })).approvals).toBe('standing');
  });

  test.each([
    ['them', permit('busy', 'confirmed', 1)],
    ['what only has their name', { ...permit('busy', 'confirmed', 1), parentExecution: undefined }],
  ])('knows no number where there is no end to %s: then people decide, or nobody may', async (_, one) => {
    const automatic = await ledger(function* () {
      for (;;) yield one;
    }).automatic(at('2026-11-01T00:00:00Z'));
    const held = context({ automatic });
    const judged = judgePolicy(rare, plan(), held);
    expect(judged.approvals).toEqual(people);
    expect(judged.against).toEqual([expect.stringMatching(/since 2026-11-01T00:00:00.000Z could not all be counted/)]);
    expect(judgePolicy(policyOf({ otherwise: 'refuse' }), plan(), held).approvals).toBe('refused');
  });
});

describe('a policy that people broke', () => {
  const rule = (change: object): string => JSON.stringify({ rules: [{ ...standing, ...change }] });
  test.each<[string, string, RegExp]>([
    ['YAML that is none', 'rules: [x', /p.yaml:1 /],
    ['a field that is none', rule({ modes: 'active' }), /rules.0.modes: Unrecognized key/],
    ['a mode that is none', rule({ mode: 'on' }), /rules.0.mode: /],
    ['no rules', '{}', /rules: /],
    ['a standing approval without people', rule({ standing: undefined }), /rules.0.standing: `approvals: none` needs the people/],
    ['one of nobody', rule({ standing: { by: [], given: '2026-11-01', until: '2026-12-01' } }), /rules.0.standing.by: /],
    ['one for ever', rule({ standing: { by: ['a'], given: '2026-11-01', until: '2027-02-01' } }), /rules.0.standing.until: 92 days; at most 90/],
    ['one that ends first', rule({ standing: { by: ['a'], given: '2026-11-01', until: '2026-10-01' } }), /rules.0.standing.until: it ends before/],
    ['no word about remedies', rule({ remedies: undefined }), /rules.0.remedies: `approvals: none` is for remedies that it names/],
    ['no largest', rule({ largest: undefined }), /rules.0.largest: /],
    ['half a largest', rule({ largest: { nodes: 1 } }), /rules.0.largest.flows: a number, or any/],
    ['a zone that is none', rule({ windows: [{ from: '01:00', to: '02:00', zone: 'Europe/Berlon' }] }), /rules.0.windows.0.zone: no time zone of that name/],
    ['a day that is none', rule({ windows: [{ days: ['friday'], from: '01:00', to: '02:00', zone: 'UTC' }] }), /rules.0.windows.0.days.0: /],
    ['a time that is none', rule({ windows: [{ from: '25:00', to: '02:00', zone: 'UTC' }] }), /rules.0.windows.0.from: a time of day/],
    ['a window of no length', rule({ windows: [{ from: '01:00', to: '01:00', zone: 'UTC' }] }), /rules.0.windows.0.to: /],
    ['a freeze without an offset', rule({ freezes: [{ from: '2026-12-01T00:00:00', to: '2026-12-02T00:00:00Z', reason: 'x' }] }), /rules.0.freezes.0.from: a moment with its offset/],
    ['a freeze that ends first', rule({ freezes: [{ from: '2026-12-03T00:00:00Z', to: '2026-12-02T00:00:00Z', reason: 'x' }] }), /rules.0.freezes.0.to: it ends before/],
    ['nobody without saying so', rule({ approvals: [] }), /rules.0.approvals: Too small/],
    ['a standing approval beside people', rule({ approvals: [{ group: 'sre' }] }), /rules.0.standing: goes with `approvals: none` only/],
    ['two rules of one name', JSON.stringify({ rules: [standing, standing] }), /rules.1.name: there are two rules offload/],
    ['a breaker that never opens', JSON.stringify({ rules: [], breaker: { failures: 5, of: 3, cooldownMinutes: 1 } }), /breaker.failures: more failures than changes/],
  ])('%s: the message names file, line and field', (_, text, why) => {
    expect(() => parseYaml(text, 'p.yaml', Policy)).toThrow(why);
  }); // prettier-ignore

  test('the example of the documents is one that undrop reads', () => {
    const file = join(root, 'docs/policy.example.yaml');
    const { rules } = parseYaml(readFileSync(file, 'utf8'), file, Policy);
    expect(rules.map(({ name, mode }) => [name, mode])).toEqual([
      ['database', 'active'],
      ['checksum-offload', 'active'],
      ['conntrack-size', 'shadow'],
    ]);
  });
});
