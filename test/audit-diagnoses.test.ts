import { afterAll, beforeAll, expect, test } from '@jest/globals';
import type { WorkflowHandle } from '@temporalio/client';
import { existsSync } from 'node:fs';
import { awaitPlan, decide } from '../client/plans.ts';
import { followAudit, startAudit } from '../cli/auditing.ts';
import type { Session } from '../cli/session.ts';
import type { AuditInput, AuditProgress, AuditRecord, AuditResult, NodeValues } from '../domain/audit.ts';
import { Inventory } from '../domain/inventory.ts';
import type { DiagnoseResult } from '../domain/runs.ts';
import { evidenceStore } from '../worker/evidence.ts';
import { replayed } from './support/histories.ts';
import { Namespaces, line, real, sh } from './support/machine.ts';
import { Pair } from './support/pair.ts';
import { Person, Road, approvalBy } from './support/road.ts';
import { until } from './support/until.ts';

const namespaces = new Namespaces();
const [alice, bob] = [new Person('alice'), new Person('bob')];
const nodes = ['a', 'b', 'x', 'y'];
let road: Road;
let session: Session;
let pair: Pair;

const netnsOf = (node: string): string => namespaces.names.find((name) => name.endsWith(`-star-${node}`)) ?? '';

/** Four nodes on one switch. */
function star(): Inventory {
  const hub = namespaces.add('-star');
  line(`ip -n ${hub} link add br0 type bridge`);
  line(`ip -n ${hub} link set br0 up`);
  const each = nodes.map((node, index) => {
    const [netns, address] = [namespaces.add(`-star-${node}`), `10.77.6.${index + 1}`];
    line(`ip -n ${netns} link add eth0 type veth peer name to-${node} netns ${hub}`);
    line(`ip -n ${hub} link set to-${node} master br0 up`);
    line(`ip -n ${netns} addr add ${address}/24 dev eth0`);
    line(`ip -n ${netns} link set eth0 up`);
    return [node, { shell: { netns }, address }] as const;
  });
  return Inventory.parse({ name: 'star', nodes: Object.fromEntries(each) });
}

const python = (netns: string, ...lines: string[]): string =>
  sh('nsenter', `--net=/run/netns/${netns}`, 'python3', '-c', ['import socket', ...lines].join('\n'));

/** Datagrams that a socket of this node cannot take: the kernel counts each as RcvbufErrors. */
const overflow = (node: string): string =>
  python(
    netnsOf(node),
    'r = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); r.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)',
    'r.bind(("127.0.0.1", 0)); s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)',
    'for _ in range(300): s.sendto(b"x" * 500, r.getsockname())',
  );

const begun = (of: Session, change: Partial<AuditInput> = {}): Promise<WorkflowHandle> =>
  startAudit(of, { inventory: of.inventory.name, requester: 'alert', visible: true, deadlineMs: 5_000, ...change });
const audited = async (change: Partial<AuditInput> = {}, of = session): Promise<AuditResult> =>
  followAudit(await begun(of, change), true);

/** When a diagnosis ran and what it was of, by the server. */
async function ran(id: string): Promise<{ target: unknown; status: string; from: number; to: number }> {
  const { memo, status, startTime, closeTime } = await session.engine.client.workflow.getHandle(id).describe();
  return { target: memo?.['target'], status: status.name, from: startTime.getTime(), to: closeTime?.getTime() ?? 0 };
}
const byTarget = async (ids: readonly string[]) =>
  (await Promise.all(ids.map(ran))).toSorted((one, two) => String(one.target).localeCompare(String(two.target)));

real('ip', 'python3')('diagnoses of what an audit suspects', () => {
  beforeAll(async () => {
    road = new Road();
    await road.open();
    session = await road.session(star());
    await audited();
  }, 60_000);
  afterAll(async () => {
    await road.close();
    namespaces.remove();
  }, 60_000);

  test('each goes out from another calm node where there is one, and the audit ends after the last', async () => {
    overflow('x');
    overflow('y');
    const { diagnoses, counts } = await audited({ diagnose: true });
    expect(counts.danger).toBe(2);
    const all = await byTarget(diagnoses);
    expect(all.map(({ target, status }) => [target, status])).toEqual([['a->x', 'COMPLETED'], ['b->y', 'COMPLETED']]); // prettier-ignore
  }, 120_000);

  test('from one calm node they go one after another: each would find the losses of the other', async () => {
    overflow('x');
    overflow('y');
    const { diagnoses } = await audited({ diagnose: true, only: ['a', 'x', 'y'] });
    const all = await byTarget(diagnoses);
    expect(all.map(({ target }) => target)).toEqual(['a->x', 'a->y']);
    const [first, second] = all.toSorted((one, two) => one.from - two.from);
    expect(second?.from).toBeGreaterThanOrEqual(first?.to ?? Number.NaN);
  }, 120_000);

  test('an audit that is cancelled meanwhile keeps its result, and takes its diagnoses with it', async () => {
    overflow('x');
    overflow('y');
    const handle = await begun(session, { diagnose: true, only: ['a', 'x', 'y'] });
    const running = await until(
      'a diagnosis runs',
      async () => {
        const { suspected } = await handle.query<AuditProgress>('progress');
        const query = 'WorkflowType = "diagnose" AND ExecutionStatus = "Running"';
        for await (const { workflowId } of session.engine.client.workflow.list({ query })) if (suspected) return workflowId;
        return undefined;
      },
      30_000,
    ); // prettier-ignore
    await handle.cancel();
    const result = await followAudit(handle, true);
    expect(result).toMatchObject({ cancelled: true, unreachable: [], counts: { danger: 2 }, diagnoses: [running] });
    expect(existsSync(`${result.report}/report.html`)).toBe(true);
    expect((await ran(running)).status).toBe('CANCELLED');
    // Also the one that waited is withdrawn: a turn that nobody gives back is lost for a quarter of an hour.
    const { events } = await handle.fetchHistory();
    const signals = events?.map((one) => one.signalExternalWorkflowExecutionInitiatedEventAttributes?.signalName) ?? [];
    expect(signals.filter((name) => name === 'giveBack')).toHaveLength(2);
  }, 120_000);

  test('whoever asked for the audit may not approve the plan that comes of it', async () => {
    pair = await Pair.make(namespaces, 'asked', approvalBy([alice, bob]));
    const asked = await road.session(pair.inventory);
    await audited({}, asked);
    await pair.break();
    python(
      namespaces.names.find((name) => name.endsWith('-asked-a')) ?? '',
      's = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)',
      'for _ in range(50): s.sendto(b"x" * 8000, ("10.77.5.2", 9))',
    );
    const wanted = { diagnose: true, propose: true, requester: alice.name };
    const [id = ''] = (await audited(wanted, asked)).diagnoses;
    const { workflow } = asked.engine.client;
    const { remediation, roots } = (await workflow.getHandle(id).result()) as DiagnoseResult;
    expect(roots).toEqual([pair.root]);
    const handle = workflow.getHandle(remediation ?? '');
    const signed = await awaitPlan(handle);
    expect(signed?.plan.requester).toBe(alice.name);
    const digest = signed?.digest ?? '';
    await expect(decide(handle, alice.decides(handle.workflowId, digest))).rejects.toThrow(/alice asked for this plan/);
    await decide(handle, bob.decides(handle.workflowId, digest, { decision: 'reject', reason: 'a trial' }));
    expect(await handle.result()).toMatchObject({ outcome: 'rejected' });
  }, 180_000);

  test('perSecond: nodes are begun no faster than that', async () => {
    const spread = async (of: Session): Promise<number> => {
      const { values } = await evidenceStore().get<AuditRecord>((await audited({}, of)).record);
      const digests = [...new Set(Object.values(values))];
      const batches = await Promise.all(digests.map((one) => evidenceStore().get<Record<string, NodeValues>>(one)));
      const begins = batches.flatMap((batch) => Object.values(batch).map(({ seen, took }) => seen - took / 2));
      expect(begins).toHaveLength(nodes.length);
      return Math.max(...begins) - Math.min(...begins);
    };
    const slow = await road.session({ ...session.inventory, name: 'slow', audit: { ...session.inventory.audit, perSecond: 1 } }); // prettier-ignore
    // The last of four begins three seconds after the first.
    expect(await spread(slow)).toBeGreaterThan(2_500);
    expect(await spread(session)).toBeLessThan(2_500);
  }, 60_000);

  test('histories replay', async () => {
    const handles: { workflowId: string; history: object }[] = [];
    const { workflow } = session.engine.client;
    for await (const { workflowId, runId } of workflow.list({
      query: 'WorkflowType IN ("audit", "turns") AND ExecutionStatus != "Running"',
    }))
      // prettier-ignore
      handles.push({ workflowId, history: await workflow.getHandle(workflowId, runId).fetchHistory() });
    expect(handles.length).toBeGreaterThan(5);
    expect(await replayed(handles)).toEqual([]);
  });
});
