import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { faults } from '../lab/fault.ts';
import { down, up } from '../lab/lab.ts';
import { diagnoseFault } from '../lab/matrix.ts';
import { loadRunbook } from '../runbooks/load.ts';
import { real } from './support/machine.ts';

const runbook = loadRunbook();
const needed = {
  netns: ['ip', 'iptables', 'nft', 'ethtool', 'conntrack', 'tc'],
  vm: ['qemu-system-x86_64', 'ssh', 'ip'],
  kubernetes: ['ip', 'nsenter', 'unshare', 'openssl', 'conntrack', 'nft'],
};

/** Each fault is injected into a real kernel, judged, healed. What must be found is proved; nothing else may be. */
for (const lab of Object.keys(needed) as (keyof typeof needed)[])
  real(...needed[lab])(`the accuracy matrix of the ${lab} lab`, () => {
    beforeAll(() => up(lab), 180_000);
    afterAll(() => down(lab), 60_000);

    test.each(faults().filter((fault) => fault.lab === lab).map((fault) => [fault.id, fault] as const))(
      '%s',
      async (_, fault) => {
        const { proved, ok, conclusion } = await diagnoseFault(fault, runbook);
        const seen = conclusion.verdicts.filter(({ kind }) => kind === 'proved' || kind === 'suspected');
        const told = seen.map(({ cause, place, kind, says }) => `${cause}@${place} ${kind}: ${says}`);
        expect({ proved, ok, told: ok ? [] : told }).toEqual({ proved, ok: true, told: [] });
        if (fault.confuser) expect(proved).toEqual([]);
        if (fault.kind) expect(conclusion.kind).toBe(fault.kind);
        expect(conclusion.unseen).toEqual({});
      },
      120_000,
    );
  }); // prettier-ignore

describe('the faults', () => {
  test('are at least sixteen, with four confusers and a healthy lab', () => {
    const all = faults();
    expect(all.filter(({ confuser }) => !confuser).length).toBeGreaterThanOrEqual(16);
    expect(all.filter(({ confuser }) => confuser).length).toBeGreaterThanOrEqual(5);
  });

  test('name only causes and remedies that there are', () => {
    const [ids, remedies] = [runbook.causes.map(({ id }) => id), runbook.remedies.map(({ id }) => id)];
    for (const fault of faults()) {
      for (const one of fault.expect) expect(ids).toContain(one.split('@')[0]);
      if (fault.remedy) expect(remedies).toContain(fault.remedy);
    }
  });
});
