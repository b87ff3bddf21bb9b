import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { decide, rollBack } from '../client/plans.ts';
import { followRemediation } from '../cli/remediating.ts';
import type { Session } from '../cli/session.ts';
import type { DiagnoseResult, RemediateInput, RemediateResult } from '../domain/runs.ts';
import { down, faultNamed, heal, inject, labInventory, up } from '../lab/lab.ts';
import { ShellPool } from '../nodes/shells/pool.ts';
import { run } from '../nodes/shells/shell.ts';
import { real } from './support/machine.ts';
import { approvalBy, diagnosed, Person, planned, Road } from './support/road.ts';

const alice = new Person('alice');
const inventory = { ...labInventory('vm'), approval: approvalBy([alice]) };
const shells = new ShellPool(inventory);

/** What the guest's own kernel says, over ssh. */
async function onGuest(line: string): Promise<string> {
  const outcome = await run(shells.of('router'), { argv: ['sh', '-c', line], deadlineMs: 20_000 });
  if (outcome.kind !== 'exited') throw new Error(outcome.why);
  return outcome.stdout.trim();
}
const limits = (): Promise<string> =>
  onGuest('cd /proc/sys/net/netfilter; echo $(cat nf_conntrack_max nf_conntrack_buckets)');

real(
  'qemu-system-x86_64',
  'ssh',
  'ip',
)('nf_conntrack_max of a node with a kernel of its own', () => {
  const road = new Road();
  const fault = faultNamed('vm-conntrack-full');
  let session: Session;
  let diagnosis: DiagnoseResult;

  beforeAll(async () => {
    await up('vm');
    await inject(fault);
    await road.open();
    session = await road.session(inventory);
    diagnosis = await diagnosed(session, fault.target);
  }, 240_000);
  afterAll(async () => {
    await shells.close();
    await road.close();
    await down('vm');
  }, 60_000);

  async function carriedOut(found: DiagnoseResult, override?: RemediateInput['override']) {
    const { handle, signed } = await planned(session, found, 'alert', override);
    await decide(handle, alice.decides(handle.workflowId, signed.digest));
    const result: RemediateResult = await followRemediation(session, handle, true);
    return { handle, signed, result };
  }

  test('full, approved, raised together with the hash, loss gone, confirmed; rolled back to the old values', async () => {
    expect(diagnosis.roots).toEqual([{ cause: 'CT-FULL', place: 'router' }]);
    expect(await limits()).toBe('512 512');
    const { handle, signed, result } = await carriedOut(diagnosis);
    expect(result).toMatchObject({ outcome: 'confirmed' });
    expect(await limits()).toBe('2048 2048');
    expect((await diagnosed(session, fault.target)).kind).toBe('no-loss');
    const [change] = result.changes;
    if (!change) throw new Error('there is no change');
    const { path, evidence } = diagnosis;
    const input = { remediation: handle.workflowId, signed, index: 0, approvals: [], path, evidence };
    expect(await rollBack(session, input, change)).toMatchObject({ state: 'reverted' });
    expect(await limits()).toBe('512 512');
    await heal(fault);
  }, 240_000);

  test('where it does not help it is reverted, and the settings read as before', async () => {
    const other = faultNamed('vm-netem-loss');
    await inject(other);
    try {
      const before = await limits();
      const found = await diagnosed(session, other.target);
      expect(found.roots).toEqual([{ cause: 'QDISC-DROP', place: 'router' }]);
      const { result } = await carriedOut(found, { remedy: 'grow-conntrack-hash', place: 'router' });
      expect(result).toMatchObject({ outcome: 'reverted' });
      expect(result.changes[0]?.proof[0]).toMatch(/^restored 0 \d+$/);
      expect(await limits()).toBe(before);
    } finally {
      await heal(other);
    }
  }, 240_000);
});
