import { describe, expect, test } from '@jest/globals';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { reportOf } from '../activities/audit-report.ts';
import { EvidenceStore } from '../activities/store.ts';
import { fits } from '../domain/globs.ts';
import { Inventory } from '../domain/inventory.ts';
import {
  type AuditNode,
  type AuditRecord,
  type NodeValues,
  auditIdOf,
  batchSizeOf,
  batchesOf,
} from '../domain/audit.ts';
import { auditRows } from '../domain/audit-judge.ts';
import { auditPage } from '../domain/audit-page.ts';
import { trendPlot } from '../domain/audit-plots.ts';
import { Profile } from '../domain/audit-profile.ts';
import { auditMarkdown, grouped, summaryOf } from '../domain/audit-report.ts';
import { loadChecks, loadRunbook } from '../runbooks/load.ts';

const checks = loadChecks(loadRunbook());

const quiet: NodeValues = {
  clock: 1_000_000, seen: 1_000_000, took: 20, bootId: 'boot', netns: '4026531840', uptime: 7200, kernel: '6.1', arch: 'x86_64',
  uplink: 'eth0',
  counters: {
    conntrack_drop: 0, conntrack_insert_failed: 0, conntrack_early_drop: 0, conntrack_chaintoolong: 0, UdpRcvbufErrors: 0,
    UdpInDatagrams: 100, UdpInCsumErrors: 0, softnet_dropped: 0, softnet_squeezed: 0, IpReasmFails: 0, IpReasmTimeout: 0,
    TcpExtIPReversePathFilter: 0,
  },
  settings: {
    nf_conntrack_count: 1000, nf_conntrack_max: 100_000, nf_conntrack_buckets: 100_000, frag_memory: 0, rp_filter: 0,
    ipfrag_high_thresh: 4_194_304, gc_thresh3: 1024, neigh_entries: 5, udp_memory: 1, udp_mem_max: 10_000, rmem_max: 212_992,
  },
  links: [{ name: 'eth0', mtu: 1500, kind: 'physical', up: true }],
  features: { eth0: { 'rx-checksumming': true, 'tx-checksumming': true } },
  missing: {},
}; // prettier-ignore
type Change = { [Key in keyof NodeValues]?: NodeValues[Key] };
const values = (change: Change = {}): NodeValues => ({
  ...quiet,
  ...change,
  counters: { ...quiet.counters, ...change.counters },
  settings: { ...quiet.settings, ...change.settings },
});
/** An hour before `quiet`. */
const earlier = (change: Change = {}): NodeValues => values({ uptime: 3600, ...change });

const judge = (now: Record<string, NodeValues>, previous: Record<string, NodeValues> = {}, profile: unknown[] = []) =>
  auditRows(checks.checks, {
    nodes: Object.keys(now).map((name): AuditNode => ({ name, group: '' })),
    values: new Map(Object.entries(now)),
    failed: new Map(),
    previous: new Map(Object.entries(previous)),
    profiles: profile.map((one) => Profile.parse(one)),
  });
const found = (row: ReturnType<typeof judge>[number] | undefined): string[] =>
  row?.findings.map(({ check }) => check) ?? [];

describe('what an audit finds on a node', () => {
  test('nothing on a quiet one, and everything that needs an earlier audit is untested without one', () => {
    const [alone] = judge({ n: quiet });
    expect(alone).toMatchObject({ findings: [], void: 'no previous audit has seen this node' });
    const [compared] = judge({ n: quiet }, { n: earlier() });
    expect(compared).toMatchObject({ findings: [], hours: 1 });
    expect(compared?.untested).toEqual({ 'peers-settings': expect.any(String), 'peers-offloads': expect.any(String), 'peers-mtu': expect.any(String) }); // prettier-ignore
  });

  test.each<[string, Change, Change]>([
    ['conntrack-full', { settings: { nf_conntrack_count: 95_000 } }, {}],
    ['conntrack-forecast', { settings: { nf_conntrack_count: 60_000 } }, { settings: { nf_conntrack_count: 50_000 } }],
    ['conntrack-drop', { counters: { conntrack_drop: 40 } }, {}],
    ['conntrack-early-drop', { counters: { conntrack_early_drop: 40 } }, {}],
    ['conntrack-insert-failed', { counters: { conntrack_insert_failed: 40, conntrack_drop: 40 } }, {}],
    ['conntrack-chains', { settings: { nf_conntrack_buckets: 200 } }, {}],
    ['receive-buffers', { counters: { UdpRcvbufErrors: 30 } }, {}],
    ['udp-memory', { settings: { udp_memory: 9000 } }, {}],
    ['softnet-dropped', { counters: { softnet_dropped: 3 } }, {}],
    ['softnet-squeezed', { counters: { softnet_squeezed: 3000 } }, {}],
    ['neighbours-full', { settings: { neigh_entries: 900 } }, {}],
    ['fragments-full', { settings: { frag_memory: 4_000_000 } }, {}],
    ['fragments-lost', { counters: { IpReasmFails: 60 } }, {}],
    ['reverse-path', { counters: { TcpExtIPReversePathFilter: 9 } }, {}],
    ['checksums', { counters: { UdpInCsumErrors: 9 } }, {}],
    ['overlay-mtu', { links: [...quiet.links, { name: 'vx', mtu: 1500, kind: 'vxlan', up: true }] }, {}],
    ['rebooted', { bootId: 'another', uptime: 60 }, {}],
    ['clock', { clock: 1_030_000 }, {}],
    ['proxy-behind', { plane: { mode: 'iptables', health: '503', queued: true, syncedAgo: 600, missing: {} } }, {}],
  ])('%s, and only that', (check, now, before) => {
    const [row] = judge({ n: values(now) }, { n: earlier(before) });
    expect(found(row)).toEqual([check]);
    expect(row?.findings[0]?.says).not.toMatch(/undefined|NaN|\{/);
  });

  test.each([
    [3599.5, 'in 0.5 seconds'],
    [3590, 'in 10 seconds'],
    [3300, 'in 5 minutes'],
    [1800, 'in 30 minutes'],
    [-1800, 'in 1.5 hours'],
    [0, 'in 1 hour'],
    [-996_400, 'in 12 days'],
  ])('a previous audit at an uptime of %d s is told as "%s"', (uptime, ago) => {
    const [row] = judge({ n: values({ uptime: 3600, counters: { softnet_dropped: 3 } }) }, { n: earlier({ uptime }) });
    expect(row?.findings[0]?.says).toContain(ago);
  });

  test.each<[string, number, number, number, string[]]>([
    ['a few hundred entries more within seconds', 10, 30_600, 30_485, []],
    ['the same slope over twelve minutes', 720, 40_950, 30_600, ['conntrack-forecast']],
    ['a few more just within twelve minutes', 710, 40_500, 31_000, []],
    ['a tenth of the table more within seconds', 10, 42_000, 31_000, ['conntrack-forecast']],
  ])('what a table does within a short time: %s', (_, seconds, count, old, checksOf) => {
    const at = (uptime: number, nf_conntrack_count: number) => values({ uptime, settings: { nf_conntrack_count } });
    expect(found(judge({ n: at(7200, count) }, { n: at(7200 - seconds, old) })[0])).toEqual(checksOf);
    // The dashes of the plot say the same.
    const plot = trendPlot([[0, old / 100_000], [seconds * 1000, count / 100_000]]); // prettier-ignore
    expect(plot.includes('class="forecast"')).toBe(checksOf.length > 0);
    expect(plot).not.toMatch(/NaN|Infinity/);
  });

  test('a single cut is no finding, however short ago the previous audit was', () => {
    const cuts = (softnet_squeezed: number) => judge({ n: values({ uptime: 3603, counters: { softnet_squeezed } }) }, { n: earlier() })[0]; // prettier-ignore
    expect(found(cuts(1))).toEqual([]);
    expect(found(cuts(3000))).toEqual(['softnet-squeezed']);
  });

  test('a table at 60 % that does not grow is no danger, nor one that has days', () => {
    const full = (count: number) => values({ settings: { nf_conntrack_count: count } });
    expect(found(judge({ n: full(60_000) }, { n: earlier({ settings: { nf_conntrack_count: 60_000 } }) })[0])).toEqual([]); // prettier-ignore
    expect(found(judge({ n: full(60_000) }, { n: earlier({ settings: { nf_conntrack_count: 59_000 } }) })[0])).toEqual([]); // prettier-ignore
    const [row] = judge({ n: full(60_000) }, { n: earlier({ settings: { nf_conntrack_count: 50_000 } }) });
    expect(row?.findings[0]?.says).toContain('full in 4 hours if it goes on: 60 % now, 10,000 entries more');
  });

  test('a session that is not tracked does not go blind', () => {
    const at = (tracked: boolean) => found(judge({ n: values({ tracked, settings: { nf_conntrack_count: 75_000 } }) })[0]); // prettier-ignore
    expect(at(true)).toEqual(['goes-blind']);
    expect(at(false)).toEqual([]);
  });

  test.each<[string, Change, RegExp]>([
    ['another boot', { bootId: 'other' }, /was booted/],
    ['another network namespace', { netns: '1' }, /another network namespace/],
    ['a counter that went down', { counters: { UdpInDatagrams: 1000 } }, /UdpInDatagrams went down from 1000 to 100/],
    ['the same moment', { uptime: 7200 }, /no time has passed/],
  ])('%s voids the comparison: said so, and never called healthy', (_, before, why) => {
    const [row] = judge({ n: values({ counters: { UdpRcvbufErrors: 500 } }) }, { n: earlier(before) });
    expect(row?.void).toMatch(why);
    expect(row?.hours).toBeUndefined();
    expect(found(row)).not.toContain('receive-buffers');
  });

  test('what could not be read is untested with its reason', () => {
    const { nf_conntrack_max: _, ...settings } = quiet.settings;
    const [row] = judge({ n: { ...quiet, settings } }, { n: earlier() });
    expect(row?.untested['conntrack-full']).toBe('fill could not be read here');
  });
});

describe('what a node is held against', () => {
  const profile = {
    nodes: ['gpu-*'],
    settings: { nf_conntrack_max: 262_144 },
    offloads: { 'eth*': { 'tx-checksumming': 'off' } },
    mtu: { eth0: 9000 },
    kubeProxy: { mode: 'nftables', version: '1.36.2' },
  };
  const plane = { mode: 'iptables', version: 'v1.36.2', health: '200', missing: {} };

  test('its profile, chosen by its name', () => {
    const [gpu, other] = judge({ 'gpu-1': values({ plane }), web: values({ plane }) }, {}, [profile]);
    expect(gpu?.findings.map(({ says }) => says)).toEqual([
      'nf_conntrack_max is 100,000 and should be 262,144',
      'tx-checksumming of eth0 is on and should be off',
      'MTU of eth0 is 1,500 and should be 9,000',
      'mode of kube-proxy is iptables and should be nftables',
    ]);
    expect(found(other)).toEqual([]);
  });

  test('its peers: of three the one that is otherwise, and nobody where there is no habit', () => {
    const odd = values({ settings: { rmem_max: 1 }, features: { eth0: { 'rx-checksumming': true, 'tx-checksumming': false } } }); // prettier-ignore
    const rows = judge({ a: quiet, b: quiet, c: odd });
    expect(rows.map(found)).toEqual([[], [], ['peers-settings', 'peers-offloads']]);
    expect(rows[2]?.findings[0]?.says).toBe('rmem_max is 1, of most of its peers 212,992');
    const split = judge({ a: quiet, b: quiet, c: odd, d: odd });
    expect(split.map(found)).toEqual([[], [], [], []]);
    const kernels = judge({ a: quiet, b: quiet, c: { ...odd, kernel: '6.12' } });
    expect(kernels[2]?.untested['peers-settings']).toMatch(/only 1 of 3 nodes with the same kernel/);
  });

  test.each([
    ['n*', 'n1', true],
    ['*-gpu-*', 'a-gpu-7', true],
    ['n1', 'n10', false],
    ['a*a', 'a', false],
    ['n.1', 'nx1', false],
    ['*', '', true],
  ])('the glob %s and the name %s: %s', (glob, name, expected) => expect(fits(glob, name)).toBe(expected));
});

describe('reports', () => {
  const hostile = `<img src=x onerror=alert(1)>"'|\n[a](javascript:b)\`\u001b]0;x\u0007`;
  const links = [...quiet.links, { name: hostile, mtu: 9000, kind: 'vxlan', up: true }];
  const now = {
    [hostile]: values({ links, kernel: hostile }),
    b: values({ settings: { nf_conntrack_count: 95_000 } }),
  };
  const rows = judge(now);
  const record: AuditRecord = {
    id: 'x', inventory: 'i', at: 0, rows: [...rows, { node: 'gone', group: '', failed: hostile, findings: [], untested: {} }],
    values: {}, judgedBy: checks.digest, trend: { [hostile]: [[0, 0.1], [3_600_000, 0.2]] },
  }; // prettier-ignore

  test('the page loads nothing, runs nothing, and shows the text of nodes as text', () => {
    const page = auditPage(checks.checks, record, new Map(Object.entries(now)));
    expect(page).not.toMatch(/<img|<script|src=x on[a-z]+=alert\(1\)>|href=/);
    expect(page).not.toContain('\u001b');
    expect(page).toContain('&#60;img src=x onerror=alert(1)&#62;&#34;&#39;|');
    expect(page).toContain("default-src 'none'");
    expect(page.match(/<svg /g)?.length).toBeGreaterThan(2);
    expect(page).toContain('class="forecast"');
    expect(page).not.toMatch(/NaN|undefined|Infinity/);
  });

  test('no cell of the Markdown ends early, and every node is named', () => {
    const markdown = auditMarkdown(checks.checks, record);
    expect(markdown).toMatch(/gone \| &lt;img src=x onerror=alert\(1\)>"'\\\| \\\[a\\\]/);
    expect(markdown.startsWith('# Audit of i: 3 nodes: 2 in danger, 0 not as they should be, 1 could not be read, 0 fine')).toBe(true); // prettier-ignore
  });

  test('of two inventories are apart, though their audits and their data folder have the same name', async () => {
    const data = mkdtempSync(join(tmpdir(), 'undrop-t-reports-'));
    const store = new EvidenceStore(join(data, 'evidence'));
    const id = auditIdOf('audit/prod/hourly-2026-11-28T09:00:00Z');
    const folders = ['prod', 'staging'].map(async (name) => {
      const inventory = Inventory.parse({ name, nodes: { n: { shell: 'local', address: '::1' } } });
      const deps = { inventory, checks, store, audits: join(data, 'audits') } as Parameters<typeof reportOf>[0];
      const plan = { at: 0, nodes: [{ name: 'n', group: '' }], deadlineMs: 500 };
      const input = { inventory: name, requester: 'alice', visible: false };
      const read = (): Promise<never> => Promise.reject(new Error('there are no values'));
      return (await reportOf(deps, { id, input, plan, batches: [], profiles: [], read })).report;
    });
    const reports = await Promise.all(folders);
    expect(reports.map((folder) => basename(folder))).toEqual(['prod_hourly-2026-11-28T09-00-00Z', 'staging_hourly-2026-11-28T09-00-00Z']); // prettier-ignore
    const of = (folder: string) => JSON.parse(readFileSync(join(folder, 'report.json'), 'utf8')) as AuditRecord;
    expect(reports.map((folder) => of(folder).inventory)).toEqual(['prod', 'staging']);
    rmSync(data, { recursive: true });
  });

  test('nodes that say the same are one line', () => {
    const many = judge(Object.fromEntries(Array.from({ length: 40 }, (_, index) => [`n${index}`, now['b'] ?? quiet])));
    expect(grouped(checks.checks, many, 'danger').map(({ nodes }) => nodes.length)).toEqual([40]);
    expect(summaryOf(many)).toContain('40 in danger');
  });

  test('batches as the plan says, and without as audits had them that began before', () => {
    const sizes = (count: number, size?: number) => batchesOf(Array.from({ length: count }), size).map(({ length }) => length); // prettier-ignore
    expect([1, 100, 250, 260, 1_000, 10_000].map(batchSizeOf)).toEqual([25, 25, 25, 26, 100, 200]);
    expect(sizes(3, 25)).toEqual([3]);
    expect(sizes(60, 25)).toEqual([25, 25, 10]);
    expect(sizes(25)).toEqual([10, 10, 5]);
    expect(new Set(sizes(200))).toEqual(new Set([10]));
    expect(sizes(1000)).toEqual(Array.from({ length: 40 }, () => 25));
  });
});
