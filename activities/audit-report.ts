import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  type AuditBatch,
  type AuditInput,
  type AuditPlan,
  type AuditRecord,
  type AuditResult,
  type AuditRow,
  type NodeValues,
  type Suspect,
  auditFolder,
} from '../domain/audit.ts';
import { auditRows } from '../domain/audit-judge.ts';
import { auditPage } from '../domain/audit-page.ts';
import type { Profile } from '../domain/audit-profile.ts';
import { auditMarkdown, countsOf, summaryOf, unreachableOf } from '../domain/audit-report.ts';
import type { Batch } from './audit-batches.ts';
import { type Deps, plainRun } from './deps.ts';

export type Reported = Omit<AuditResult, 'diagnoses'> & { suspects: Suspect[] };

/** Where the newest audit of an inventory is found. */
export const newestAudit = (inventory: string): string => `audit-${inventory}`;

interface Task {
  id: string;
  input: AuditInput;
  plan: AuditPlan;
  batches: readonly AuditBatch[];
  profiles: readonly Profile[];
  /** Values by their digest. @throws Error when there are none */
  read: (digest: string) => Promise<Batch>;
}

/** So many audits' fills of a node are kept for the plots. */
const longestTrend = 48;
/** A node that nobody has read for so long is gone. */
const trendMs = 30 * 24 * 3_600_000;
/** A workflow's result has a bound; the report names every node all the same. */
const mostNamed = 2_000;

/** Judges what was read, keeps it for the next audit, and writes report.md, report.json and report.html. */
export async function reportOf(
  deps: Deps,
  { id, input, plan, batches, profiles, read: batchOf }: Task,
): Promise<Reported> {
  const { inventory, checks, store, audits } = deps;
  const read = await Promise.all(
    batches.flatMap(({ values: digest }) => (digest ? [batchOf(digest).then((batch) => ({ digest, batch }))] : [])),
  );
  const values = new Map(read.flatMap(({ batch }) => Object.entries(batch)));
  const { record: before, values: previous } = await earlier(deps, plan, batchOf);
  const failed = new Map(batches.flatMap((batch) => batch.failed.map(({ node, why }) => [node, why] as const)));
  const rows = auditRows(checks.checks, { nodes: plan.nodes, values, failed, previous, profiles });
  const now = Object.fromEntries(read.flatMap(({ digest, batch }) => Object.keys(batch).map((name) => [name, digest])));
  const record: AuditRecord = {
    id,
    inventory: inventory.name,
    at: plan.at,
    rows,
    values: { ...kept(before?.values ?? {}, plan, input), ...now },
    judgedBy: checks.digest,
    trend: trendOf(before, plan, values),
  };
  const digest = await store.put(record);
  const folder = join(audits, auditFolder(inventory.name, plainRun(id)));
  await mkdir(folder, { recursive: true });
  await Promise.all([
    writeFile(join(folder, 'report.md'), auditMarkdown(checks.checks, record)),
    writeFile(join(folder, 'report.json'), JSON.stringify(record, null, 2)),
    writeFile(join(folder, 'report.html'), auditPage(checks.checks, record, values)),
  ]);
  await store.point(newestAudit(inventory.name), digest);
  return {
    id,
    nodes: rows.length,
    counts: countsOf(rows),
    unreachable: unreachableOf(rows).slice(0, mostNamed),
    says: summaryOf(rows),
    record: digest,
    report: folder,
    suspects: suspectsOf(rows, inventory.kubernetes !== undefined),
  };
}

/** The previous audit and what it kept of these nodes. Evidence that is gone is none: the rows then say so. */
async function earlier({ store }: Deps, { previous, nodes }: AuditPlan, batchOf: Task['read']): Promise<{ record?: AuditRecord; values: Map<string, NodeValues> }> {
  const record = previous === undefined ? undefined : await store.get<AuditRecord>(previous).catch(() => undefined);
  if (!record) return { values: new Map() };
  const wanted = nodes.flatMap(({ name }) => (Object.hasOwn(record.values, name) ? [[name, record.values[name] ?? ''] as const] : []));
  const batches = new Map(await Promise.all([...new Set(wanted.map(([, digest]) => digest))].map(async (digest) => [digest, await batchOf(digest).catch((): Batch => ({}))] as const)));
  return {
    record,
    values: new Map(
      wanted.flatMap(([name, digest]) => {
        const found = batches.get(digest)?.[name];
        return found ? [[name, found] as const] : [];
      }),
    ),
  };
} // prettier-ignore

/** What earlier audits know of nodes that this one did not reach or was not asked for. A node that is gone is forgotten. */
function kept(old: Record<string, string>, { nodes }: AuditPlan, { only }: AuditInput): Record<string, string> {
  if (only) return old;
  const names = new Set(nodes.map(({ name }) => name));
  return Object.fromEntries(Object.entries(old).filter(([name]) => names.has(name)));
}

function trendOf(
  previous: AuditRecord | undefined,
  plan: AuditPlan,
  values: ReadonlyMap<string, NodeValues>,
): AuditRecord['trend'] {
  const longAgo = plan.at - trendMs;
  const recent = Object.entries(previous?.trend ?? {}).filter(([, points]) => (points.at(-1)?.[0] ?? 0) > longAgo);
  const old = new Map(recent);
  for (const { name } of plan.nodes) {
    const now = values.get(name);
    const { nf_conntrack_count: count, nf_conntrack_max: max } = now?.settings ?? {};
    if (!now || count === undefined || !max) continue;
    const point: [number, number] = [Math.round(now.seen), Number((count / max).toFixed(5))];
    old.set(name, [...(old.get(name) ?? []), point].slice(-longestTrend));
  }
  return Object.fromEntries(old);
}

const mostSuspects = 3;

/**
 * Dangers whose cause a diagnosis can look for: from a node that is fine to the one in danger, each from another one where
 * there is one. Diagnoses that share a sender would wait for each other.
 */
function suspectsOf(rows: readonly AuditRow[], cluster: boolean): Suspect[] {
  const end = (name: string): string => (cluster ? `node/${name}` : name);
  const calm = rows.filter(({ failed, findings }) => failed === undefined && findings.every(({ severity }) => severity !== 'danger')); // prettier-ignore
  const used = new Set<string>();
  return rows
    .flatMap(({ node, group, findings }) => {
      const cause = findings.find((one) => one.severity === 'danger' && one.cause !== undefined)?.cause;
      return cause === undefined ? [] : [{ node, group, cause }];
    })
    .slice(0, mostSuspects)
    .flatMap(({ node, group, cause }): Suspect[] => {
      const fresh = calm.filter((one) => !used.has(one.node));
      const all = fresh.length ? fresh : calm;
      const from = all.find((one) => one.group === group) ?? all[0];
      if (!from) return [];
      used.add(from.node);
      return [{ node, cause, target: `${end(from.node)}->${end(node)}` }];
    });
}
