import { mkdir, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Client } from '@temporalio/client';
import { EvidenceStore } from '../activities/store.ts';
import { auditFolder, auditIdOf } from '../domain/audit.ts';
import type { Inventory, Keep } from '../domain/inventory.ts';
import { auditsFolder, dataFolder, evidenceFolder, runsFolder } from './paths.ts';

const dayMs = 86_400_000;
/** How often it is asked whether a day has passed. */
const lookMs = 3_600_000;
/** The server's clock may differ from the one that stamps files. */
const clockMs = 3_600_000;

/** Runs that are not over: in progress, or waiting for approval. */
export interface OpenRuns {
  /** When the first of them began, in milliseconds since the epoch; Infinity where there is none. */
  since: number;
  /** Names of their folders. */
  names: ReadonlySet<string>;
}

/** What was deleted. */
export interface Swept {
  evidence: number;
  reports: number;
  bytes: number;
}

type Tell = (level: 'info' | 'warn', message: string, meta: Record<string, unknown>) => void;

/**
 * Deletes what is older than the inventory keeps it: at the start of a worker and as long as it runs, once a day.
 * @returns ends it
 */
export function retain(client: Client, inventory: Inventory, tell: Tell): () => void {
  const ending = new AbortController();
  const round = async (): Promise<void> => {
    try {
      const swept = await sweepDaily(client, inventory, ending.signal);
      if (swept && swept.evidence + swept.reports > 0)
        tell('info', 'old evidence and reports were deleted', { ...swept });
    } catch (error) {
      if (!ending.signal.aborted) tell('warn', 'old evidence was not deleted', { error: String(error) });
    }
  };
  void round();
  const timer = setInterval(() => void round(), lookMs).unref();
  return () => {
    clearInterval(timer);
    ending.abort();
  };
}

/**
 * Sweeps the data folder unless somebody did within a day. Inventories that share the folder share the longest of their
 * limits: what is in there does not say whose it is.
 * @returns what was deleted; undefined where it was not yet time
 * @throws Error when the server cannot say which runs are open: then nothing is deleted
 */
export async function sweepDaily(
  client: Client,
  { name, keep }: Pick<Inventory, 'name' | 'keep'>,
  signal?: AbortSignal,
): Promise<Swept | undefined> {
  const limits = await agreed(name, keep);
  const stamp = join(dataFolder(), 'keep', 'swept');
  const last = await stat(stamp).catch(() => undefined);
  if (last && Date.now() - last.mtimeMs < dayMs) return undefined;
  const swept = await sweep(limits, await openRuns(client), Date.now(), signal);
  // Only now, so that the next command goes on where a short one had no time to come to an end.
  if (!signal?.aborted) await writeFile(stamp, '');
  return swept;
}

/** The limits of all inventories that used this data folder, this one's written down among them. */
async function agreed(name: string, keep: Keep): Promise<Keep> {
  const folder = join(dataFolder(), 'keep');
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, `${name}.json`), JSON.stringify(keep));
  const all = { ...keep };
  for (const file of (await readdir(folder)).filter((one) => one.endsWith('.json'))) {
    const other = JSON.parse(await readFile(join(folder, file), 'utf8')) as Keep;
    all.days = Math.max(all.days, other.days);
    all.changesDays = Math.max(all.changesDays, other.changesDays);
  }
  return all;
}

/** Which runs the server says are open, of all inventories. */
export async function openRuns({ workflow }: Client): Promise<OpenRuns> {
  const types = ['diagnose', 'remediate', 'rollout', 'change', 'rollback', 'audit']
    .map((type) => `"${type}"`)
    .join(', ');
  const names = new Set<string>();
  let since = Infinity;
  for await (const { workflowId, startTime } of workflow.list({
    query: `ExecutionStatus = "Running" AND WorkflowType IN (${types})`,
  })) {
    since = Math.min(since, startTime.getTime());
    names.add(folderOf(workflowId));
  }
  return { since, names };
}

/** Where a workflow's reports are, below the folder of runs or of audits. */
function folderOf(workflowId: string): string {
  const [kind, inventory = ''] = workflowId.split('/');
  const name = auditIdOf(workflowId);
  return kind === 'audit' ? auditFolder(inventory, name) : name;
}

/**
 * Deletes evidence, and reports of runs and audits, that nobody used or wrote for as long as the limits say. As long as a run is
 * open, nothing goes that was used since it began: whatever it needs, it has read or written itself.
 */
export async function sweep(limits: Keep, open: OpenRuns, now: number, signal?: AbortSignal): Promise<Swept> {
  const before = (days: number): number => Math.min(now - days * dayMs, open.since - clockMs);
  const { files, bytes } = await new EvidenceStore(evidenceFolder()).drop(before(limits.days), signal);
  const swept: Swept = { evidence: files, reports: 0, bytes };
  for (const folder of [runsFolder(), auditsFolder()])
    for (const entry of await readdir(folder, { withFileTypes: true }).catch(() => [])) {
      if (signal?.aborted) return swept;
      if (!entry.isDirectory() || open.names.has(entry.name)) continue;
      const path = join(folder, entry.name);
      const report = await reportIn(path).catch(() => undefined); // another worker was faster
      if (!report || !(report.written < before(report.planned ? limits.changesDays : limits.days))) continue;
      await rm(path, { recursive: true, force: true });
      swept.reports++;
      swept.bytes += report.bytes;
    }
  return swept;
}

async function reportIn(folder: string): Promise<{ planned: boolean; written: number; bytes: number }> {
  const names = await readdir(folder);
  const found = await Promise.all([folder, ...names.map((name) => join(folder, name))].map((path) => stat(path)));
  return {
    planned: names.some((name) => /^(remediation-|rollout\.)/.test(name)),
    written: Math.max(...found.map(({ mtimeMs }) => mtimeMs)),
    bytes: found.slice(1).reduce((sum, { size }) => sum + size, 0),
  };
}
