import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import type { WorkflowHandle } from '@temporalio/client';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type Server, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { exitOf, followAudit, startAudit } from '../cli/auditing.ts';
import { applySchedules } from '../cli/applying.ts';
import { createSchedule, scheduleOf, schedules, trigger } from '../cli/scheduling.ts';
import type { Session } from '../cli/session.ts';
import type { AuditInput, AuditRecord, AuditResult, AuditRow } from '../domain/audit.ts';
import { Inventory } from '../domain/inventory.ts';
import { evidenceStore } from '../worker/evidence.ts';
import { type Command, Commands } from './support/commands.ts';
import { record, replayed } from './support/histories.ts';
import { root } from './support/imports.ts';
import { Namespaces, inside, real, sh } from './support/machine.ts';
import { Pair } from './support/pair.ts';
import { Road } from './support/road.ts';
import { Sshd } from './support/sshd.ts';
import { freePort } from './support/port.ts';
import { until } from './support/until.ts';

const namespaces = new Namespaces();
const commands = new Commands();
let road: Road;
let sshd: Sshd;
let silent: Server;
let pair: Pair;
let inventory: Inventory;
/** With a worker in this process. */
let session: Session;

/** An ssh node on a port of this machine. */
const ssh = (port: number) => ({ address: '127.0.0.1', shell: { ssh: { ...sshd.spec, port } } });
const hangMs = 6_000;

async function audited(change: Partial<AuditInput> = {}, of = session): Promise<AuditResult & { rows: AuditRow[] }> {
  const input = { inventory: of.inventory.name, requester: 'alert', visible: true, deadlineMs: 5_000, ...change };
  const result = await followAudit(await startAudit(of, input), true);
  return { ...result, rows: (await evidenceStore().get<AuditRecord>(result.record)).rows };
}
/** Waits until an audit in progress has read a node and put it where a second attempt would find it. */
const hasKept = (handle: WorkflowHandle, node: string): Promise<unknown> =>
  until(
    'what it has is kept',
    async () => {
      const { raw } = await handle.describe();
      const data = raw.pendingActivities?.[0]?.heartbeatDetails?.payloads?.[0]?.data;
      const digest = /[0-9a-f]{64}/.exec(Buffer.from(data ?? []).toString())?.[0];
      return digest !== undefined && node in (await evidenceStore().get<{ values: object }>(digest)).values;
    },
    20_000,
  );
const rowOf = ({ rows }: { rows: AuditRow[] }, name: string): AuditRow | undefined =>
  rows.find(({ node }) => node === name);

/** Datagrams that a socket of this namespace cannot take: the kernel counts each as RcvbufErrors. */
const overflow = (netns: string): string =>
  sh('nsenter', `--net=/run/netns/${netns}`, 'python3', '-c', [
    'import socket',
    'r = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); r.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)',
    'r.bind(("127.0.0.1", 0)); s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)',
    'for _ in range(300): s.sendto(b"x" * 500, r.getsockname())',
  ].join('\n')); // prettier-ignore
const [alpha, omega] = [() => namespaces.names[0] ?? '', () => namespaces.names[1] ?? ''];

real(
  'ip',
  'sshd',
  'python3',
  'unshare',
)('an audit of real nodes', () => {
  beforeAll(async () => {
    road = new Road();
    await road.open();
    sshd = await Sshd.start();
    silent = createServer(() => {});
    const hanging = await freePort();
    await new Promise<void>((resolve) => silent.listen(hanging, '127.0.0.1', resolve));
    const closed = await freePort();
    const key = readFileSync(join(sshd.folder, 'host.pub'), 'utf8');
    writeFileSync(sshd.spec.knownHosts, [sshd.spec.port, hanging, closed].map((port) => `[127.0.0.1]:${port} ${key}`).join('')); // prettier-ignore
    pair = await Pair.make(namespaces, 'audit');
    inventory = Inventory.parse({
      ...pair.inventory,
      nodes: { ...pair.inventory.nodes, far: ssh(sshd.spec.port), hangs: ssh(hanging), closed: ssh(closed) },
      audit: { profile: [{ nodes: ['alpha'], mtu: { '*': 1400 }, settings: { ip_forward: 1 } }] },
    });
    session = await road.session(inventory);
  }, 60_000);
  afterAll(async () => {
    await commands.end();
    silent?.close();
    await road.close();
    await sshd?.stop();
    namespaces.remove();
  }, 60_000);

  test('reads every node, names those that do not answer with the reason, and waits for none beyond its deadline', async () => {
    const started = Date.now();
    const result = await audited({ deadlineMs: 4_000 });
    expect(Date.now() - started).toBeLessThan(10_000);
    expect(result).toMatchObject({ nodes: 5, counts: { danger: 0 } });
    expect(result.unreachable).toEqual([
      { node: 'hangs', why: expect.stringMatching(/no (connection|answer) within/) },
      { node: 'closed', why: expect.stringMatching(/ECONNREFUSED/) },
    ]);
    expect(rowOf(result, 'far')).toMatchObject({ void: expect.stringMatching(/no previous audit/) });
    expect(readFileSync(join(result.report, 'report.md'), 'utf8')).toMatch(/\| hangs \| .*no (connection|answer)/);
    expect(readFileSync(join(result.report, 'report.json'), 'utf8')).toContain('"hangs"');
  });

  test('compares with the previous audit by counters of the kernel, and has what it finds diagnosed', async () => {
    const calm = await audited({ only: ['alpha', 'omega'] });
    expect(rowOf(calm, 'omega')).toMatchObject({ findings: [], hours: expect.any(Number) });
    overflow(omega());
    const result = await audited({ only: ['alpha', 'omega'], diagnose: true });
    expect(rowOf(result, 'omega')?.findings).toEqual([
      expect.objectContaining({ check: 'receive-buffers', severity: 'danger', cause: 'SOCK-RCVBUF' }),
    ]);
    expect(result.counts.danger).toBe(1);
    const [opened = ''] = result.diagnoses;
    const diagnosis = session.engine.client.workflow.getHandle(opened);
    expect(await diagnosis.describe()).toMatchObject({
      memo: { target: 'alpha->omega' },
      status: { name: 'COMPLETED' },
    });
  });

  test('finds what is not as the profile says, and a device with a hostile name stays text', async () => {
    inside(alpha(), 'ip link add "><b>x type bridge');
    const { rows, report } = await audited({ only: ['alpha'] });
    const says = rows[0]?.findings.map((one) => one.says).join('; ');
    expect(says).toContain('ip_forward is 0 and should be 1');
    expect(says).toContain('MTU of "><b>x is 1,500 and should be 1,400');
    const page = readFileSync(join(report, 'report.html'), 'utf8');
    expect(page).toContain('&#34;&#62;&#60;b&#62;x');
    expect(page).not.toContain('<b>x');
  });

  test('a namespace that was made anew voids the comparison', async () => {
    const name = omega();
    sh('ip', 'netns', 'del', name);
    sh('ip', 'netns', 'add', name);
    const row = rowOf(await audited({ only: ['omega'] }), 'omega');
    expect(row?.hours).toBeUndefined();
    expect(row?.void).toMatch(/another network namespace|went down/);
  });

  test('a cancelled audit reports what it has read, and keeps that for the next one', async () => {
    const input = { inventory: 'audit', requester: 'alert', visible: true, deadlineMs: 60_000 };
    const handle = await startAudit(session, input);
    await hasKept(handle, 'far');
    await handle.cancel();
    const result = await followAudit(handle, true);
    expect(result).toMatchObject({ cancelled: true, nodes: 5, diagnoses: [] });
    expect(result.unreachable).toEqual([
      {
        node: 'hangs',
        why: expect.stringMatching(/^the audit was cancelled before it was read$|no connection within/),
      },
      { node: 'closed', why: expect.stringMatching(/ECONNREFUSED/) },
    ]);
    expect(exitOf(result)).toBe(130);
    expect(result.says).toMatch(/5 nodes: .*1 could not be read, .*1 not read before it was cancelled/);
    const { values } = await evidenceStore().get<AuditRecord>(result.record);
    expect(Object.keys(values).toSorted()).toEqual(['alpha', 'far', 'omega']);
    expect(rowOf(await audited({ only: ['far'] }), 'far')?.hours).toBeGreaterThan(0);
  });

  test('nothing to audit is an error and no empty report', async () => {
    await expect(audited({ only: ['nobody*'] })).rejects.toThrow(/no node of audit matches nobody\*/);
    await expect(audited({ profile: [{ settings: { 'kernel.x': 1 } }] })).rejects.toThrow(/that is no profile/);
  });

  test('histories replay', async () => {
    const handles: { workflowId: string; history: object }[] = [];
    const { workflow } = session.engine.client;
    for await (const { workflowId, runId } of workflow.list({
      query: 'WorkflowType = "audit" AND ExecutionStatus != "Running"',
    }))
      // prettier-ignore
      handles.push({ workflowId, history: await workflow.getHandle(workflowId, runId).fetchHistory() });
    expect(handles.length).toBeGreaterThan(3);
    expect(await replayed(handles)).toEqual([]);
    if (process.env['UNDROP_RECORD']) record(handles);
  });

  describe('without a worker in this process', () => {
    let away: Session;
    const worker = async (): Promise<Command> => {
      const started = commands.start(['worker', '-i', road.file(away.inventory)]);
      await started.says('working on');
      return started;
    };
    beforeAll(async () => {
      away = await road.session({ ...inventory, name: 'audit-away' }, false);
    });

    test('a worker that is killed amid an audit: another one reads only what is left', async () => {
      const first = await worker();
      const before = sshd.log().match(/Accepted publickey/g)?.length ?? 0;
      const input = { inventory: 'audit-away', requester: 'alert', visible: true, deadlineMs: hangMs };
      const handle = await startAudit(away, input);
      await hasKept(handle, 'far');
      first.kill('SIGKILL');
      await worker();
      const result = await followAudit(handle, true);
      expect(result.nodes).toBe(5);
      expect(result.unreachable.map(({ node }) => node).toSorted()).toEqual(['closed', 'hangs']);
      expect(sshd.log().match(/Accepted publickey/g)?.length).toBe(before + 1);
    }, 90_000);

    test('a schedule: triggered, skipped while one is in progress, paused with a reason, listed, removed', async () => {
      const undrop = async (...words: string[]): Promise<Command> => {
        const command = commands.start(['schedule', ...words, '-i', road.file(away.inventory)]);
        await command.ended;
        return command;
      };
      const input = { inventory: 'audit-away', requester: 'alert', visible: true, deadlineMs: hangMs };
      await createSchedule(away, 'hourly', { every: '1h', jitter: '5m' }, input);
      await expect(createSchedule(away, 'hourly', { every: '1h' }, input)).rejects.toThrow(
        /there is a schedule hourly/,
      );
      await expect(createSchedule(away, 'never', { cron: 'no cron' }, input)).rejects.toThrow(/does not take this/);
      const { policies, spec } = (await scheduleOf(away, 'hourly')).is;
      expect(policies).toMatchObject({ overlap: 'SKIP', catchupWindow: 600_000 });
      expect(spec.jitter).toBe(300_000);
      const started = await trigger(away, 'hourly');
      expect(started).toMatch(/^audit\/audit-away\/hourly-20/);
      expect(await trigger(away, 'hourly')).toBeUndefined();
      const done = (await away.engine.client.workflow.getHandle(started ?? '').result()) as AuditResult;
      expect(done).toMatchObject({ nodes: 5, id: expect.stringMatching(/^hourly-20[\dTZ-]+$/) });

      expect(await (await undrop('pause', 'hourly')).ended).toBe(2);
      expect(await (await undrop('pause', 'hourly', '--reason', 'the network is rebuilt')).ended).toBe(0);
      expect((await undrop('list')).stdout).toMatch(/hourly +every 1h +last 20.*paused: \S+: the network is rebuilt/);
      expect(await (await undrop('resume', 'hourly')).ended).toBe(0);
      expect((await undrop('show', 'hourly')).stdout).toMatch(/1 audits, 1 skipped[^]*5 nodes: 0 in danger/);
      expect(await (await undrop('delete', 'hourly')).ended).toBe(0);
      expect((await undrop('show', 'hourly')).stderr).toContain('there is no schedule hourly; there are none');
    }, 120_000);

    test('a list of schedules: made, left as it was, replaced, deleted, and never one that was made by hand', async () => {
      const file = join(road.data, 'schedules.yaml');
      const apply = async (list: string): Promise<unknown> => {
        writeFileSync(file, `schedules: [${list}]`);
        return applySchedules(away, file, 'chart');
      };
      const input = { inventory: 'audit-away', requester: 'alice', visible: true };
      await createSchedule(away, 'by-hand', { every: '2h' }, input);
      const is = async (name: string) => (await scheduleOf(away, name)).is;
      const listed = (...names: string[]) =>
        until('the server lists them', async () =>
          (await schedules(away)).map(({ name }) => name).join() === names.join(),
        ); // prettier-ignore
      await listed('by-hand');
      await expect(apply('{ name: by-hand, every: 1h }')).rejects.toThrow(/made the schedule by-hand by hand/);
      await expect(apply('{ name: a, every: 1h }, { name: a, cron: "0 6 * * *" }')).rejects.toThrow(/the same name/);
      await expect(apply('{ name: a }')).rejects.toThrow(/schedules.yaml:1 schedules.0: give either every/);
      const hourly = '{ name: hourly, every: 1h, diagnose: true }';
      expect(await apply(`${hourly}, { name: nightly, cron: '0 2 * * *' }`)).toEqual([{ name: 'hourly', outcome: 'made' }, { name: 'nightly', outcome: 'made' }]); // prettier-ignore
      expect((await is('hourly')).action).toMatchObject({
        args: [{ inventory: 'audit-away', requester: 'chart', diagnose: true }],
      });
      await listed('by-hand', 'hourly', 'nightly');
      await (await scheduleOf(away, 'hourly')).handle.pause('alice: rebuilding');
      expect(await apply(hourly)).toEqual([{ name: 'hourly', outcome: 'as it was' }, { name: 'nightly', outcome: 'deleted' }]); // prettier-ignore
      await listed('by-hand', 'hourly');
      await expect(apply('{ name: hourly, cron: no cron }')).rejects.toThrow(/does not take this/);
      expect(await is('hourly')).toMatchObject({ memo: { rhythm: 'every 1h' }, state: { paused: true } });
      expect(await apply("{ name: hourly, every: 1h, only: ['a*'] }")).toEqual([{ name: 'hourly', outcome: 'replaced' }]); // prettier-ignore
      expect(await is('hourly')).toMatchObject({ action: { args: [{ only: ['a*'] }] }, state: { paused: true, note: 'alice: rebuilding' } }); // prettier-ignore
      expect(await apply('')).toEqual([{ name: 'hourly', outcome: 'deleted' }]);
      await listed('by-hand');
      await (await scheduleOf(away, 'by-hand')).handle.delete();
    }, 60_000);

    test('the command: every unreachable node by name, its exit code, and the page in a file', async () => {
      const page = join(road.data, 'page.html');
      const words = ['audit', '--only', 'alpha', 'closed', '--html', page, '-i', road.file(away.inventory)];
      const command = commands.start(words);
      expect([await command.ended, command.stderr]).toEqual([3, expect.any(String)]);
      expect(command.stdout).toMatch(/Could not be read \(1\)\n {2}closed {2}ssh .*ECONNREFUSED/);
      expect(readFileSync(page, 'utf8')).toContain('<!doctype html>');
    });

    test('the command with the worker on another machine: it says all that it knows, and where the rest is', () => {
      const elsewhere = mkdtempSync(join(tmpdir(), 'undrop-t-elsewhere-'));
      const page = join(elsewhere, 'page.html');
      const env = { ...process.env, NODE_OPTIONS: '', NO_COLOR: '1', TEMPORAL_ADDRESS: road.engine.address, UNDROP_DATA: elsewhere }; // prettier-ignore
      // The worker's reports are not in the files that the command sees.
      const without = ['-m', 'sh', '-c', 'mount -t tmpfs none "$0" && exec "$@"', join(road.data, 'audits')];
      const audit = (...words: string[]) => {
        const all = ['audit', '--html', page, '-i', road.file(away.inventory), '--only', 'alpha', ...words];
        return spawnSync('unshare', [...without, join(root, 'undrop'), ...all], { encoding: 'utf8', env });
      };
      const calm = audit();
      expect(calm.status).toBe(3);
      expect(calm.stdout).toMatch(/1 nodes: 0 in danger[^]*on the worker's machine:\nreport {2}\S+report\.html\n/);
      expect(calm.stderr).toMatch(/page\.html was not written: the page is on the worker's machine/);
      overflow(alpha());
      const bad = audit('--json');
      expect(bad.status).toBe(1);
      expect(JSON.parse(bad.stdout)).toMatchObject({ nodes: 1, counts: { danger: 1 } });
      expect(JSON.parse(bad.stdout)).not.toHaveProperty('rows');
      expect(bad.stderr).toMatch(/the rows are on the worker's machine, in \S+\/report\.json\n.*was not written/);
      rmSync(elsewhere, { recursive: true });
    }, 60_000);
  });
});
