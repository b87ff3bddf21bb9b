import type { Plane } from './cluster.ts';
import type { Link } from './sample.ts';

/** What an audit keeps of one node: the host's network namespace at one time, small enough to be kept for every node. */
export interface NodeValues {
  /** The node's own clock, and this worker's in the middle of the reading; milliseconds since the epoch. */
  clock: number;
  seen: number;
  /** How long the reading took, in milliseconds: the clocks can be compared no closer than that. */
  took: number;
  bootId: string;
  netns: string;
  /** Seconds since boot. */
  uptime: number;
  kernel: string;
  arch: string;
  /** Device of the default route; '' where there is none. */
  uplink: string;
  counters: Record<string, number>;
  /** Settings and gauges by the names of domain/counters.ts. */
  settings: Record<string, number>;
  links: Link[];
  features: Record<string, Record<string, boolean>>;
  /** Whether our own session with it is tracked; absent where nobody asked. */
  tracked?: boolean;
  /** kube-proxy there, in a cluster. */
  plane?: Plane;
  missing: Record<string, string>;
}

/** `danger`: datagrams are being lost, or soon will be. `drift`: it is not as it should be. `note`: worth knowing. */
export type Severity = 'danger' | 'drift' | 'note';
export const severities: readonly Severity[] = ['danger', 'drift', 'note'];

export interface AuditFinding {
  check: string;
  severity: Severity;
  says: string;
  /** Ids of the runbook: what loses datagrams then, and what helps. */
  cause?: string;
  remedy?: string;
}

/** What is known of one node after an audit. A node that could not be read has a reason and nothing else. */
export interface AuditRow {
  node: string;
  group: string;
  failed?: string;
  /** Hours since the previous audit; absent where there is nothing to compare with, and `void` says why. */
  hours?: number;
  void?: string;
  findings: AuditFinding[];
  /** Check -> why it could not be judged here: never the same as fine. */
  untested: Record<string, string>;
}

/** One node to audit, and what it is compared with: nodes of its group. */
export interface AuditNode {
  name: string;
  group: string;
}

export interface AuditInput {
  inventory: string;
  requester: string;
  /** Only nodes whose name matches one of these globs. */
  only?: string[];
  /** What nodes should be like instead of what the inventory says; checked again by the worker. */
  profile?: unknown;
  deadlineMs?: number;
  /** Open a diagnosis of findings that name a cause; with `propose`, also plans for what is proved, which wait for approval. */
  diagnose?: boolean;
  propose?: boolean;
  visible: boolean;
}

export interface AuditProgress {
  phase: 'listing' | 'reading' | 'judging' | 'diagnosing' | 'done';
  total: number;
  done: number;
  failed: string[];
  /** Targets of the diagnoses that are still waited for. */
  suspected?: string[];
}

export interface AuditResult {
  id: string;
  nodes: number;
  counts: Record<Severity, number>;
  /** Every node that could not be read, with its reason. */
  unreachable: { node: string; why: string }[];
  says: string;
  /** Digest of the record in the evidence store, which holds every row. */
  record: string;
  /** Folder with report.md, report.json and report.html. */
  report: string;
  /** Workflow ids of diagnoses that were opened. */
  diagnoses: string[];
  /** Somebody cancelled it: nodes that had not been read by then are among the unreachable. */
  cancelled?: true;
}

/** What a listing gave: the nodes, and how they are to be read. */
export interface AuditPlan {
  /** When the audit began, milliseconds since the epoch. */
  at: number;
  nodes: AuditNode[];
  deadlineMs: number;
  perSecond?: number;
  /** Nodes in a batch: part of the plan, as another undrop may take the audit on. Absent in audits that began before it was. */
  batch?: number;
  /** Digest of the previous audit's record, pinned here so that a second attempt compares with the same. */
  previous?: string;
}

/** A finding that a diagnosis could look into, and the target that reaches it. */
export interface Suspect {
  node: string;
  cause: string;
  target: string;
}

/** What one batch gave: values in the store by digest, and who did not answer. */
export interface AuditBatch {
  values: string;
  done: number;
  failed: { node: string; why: string }[];
}

/** Everything of one audit, in the evidence store; the next audit compares with its values. */
export interface AuditRecord {
  id: string;
  inventory: string;
  /** Milliseconds since the epoch. */
  at: number;
  rows: AuditRow[];
  /** Node -> digest of the batch that holds its newest values: of this audit, or of an earlier one that reached it. */
  values: Record<string, string>;
  /** Digest of the audit.yaml that judged. */
  judgedBy: string;
  /** Node -> [at, fill of its conntrack table] of this and earlier audits, the oldest first. */
  trend: Record<string, [number, number][]>;
}

/** Why a node was not read when somebody cancelled the audit. */
export const cancelledFirst = 'the audit was cancelled before it was read';

/**
 * Nodes in a batch of an audit of so many: ten batches, but of no fewer than 25 and no more than 200. Each costs the server a few events and two heartbeats a
 * second for as long as the audit goes on, which with 40 of them took a second of 20; fewer nodes in one would not lose less in
 * a crash (`auditBatch` keeps rows).
 */
export const batchSizeOf = (nodes: number): number => Math.min(200, Math.max(25, Math.ceil(nodes / 10)));

/** @param size left out: by the rule of audits whose plan has none, which must not change while they go on */
export function batchesOf<T>(nodes: readonly T[], size = nodes.length <= 200 ? 10 : 25): T[][] {
  return Array.from({ length: Math.ceil(nodes.length / size) }, (_, index) =>
    nodes.slice(index * size, (index + 1) * size),
  );
}

/** The name of an audit within its inventory: what follows `audit/<inventory>/` of its workflow id, in plain characters. */
export const auditIdOf = (workflowId: string): string =>
  (workflowId.split('/').at(-1) ?? '').replaceAll(/[^A-Za-z0-9-]/g, '-').slice(0, 64);

/**
 * The folder of an audit's reports. Inventories may share a data folder, and schedules of the same name and time; no name
 * of either has a `_`.
 */
export const auditFolder = (inventory: string, id: string): string => `${inventory}_${id}`;
