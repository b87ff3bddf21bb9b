import type { Need, RecordedDecision } from './approval.ts';
import type { SignedPlan } from './plan.ts';
import type { ChangeResult, DiagnoseResult } from './runs.ts';
import type { RolloutRules } from './waves.ts';

/** More would make a plan that no approver reads, and a message that Temporal does not take (2 MB). */
export const mostTargets = 200;

/** One target of a rollout, with the plan for it. */
export interface Part extends SignedPlan {
  target: string;
  node: string;
  /** Empty where none is known. */
  zone: string;
}

export interface Skipped {
  target: string;
  why: string;
}

/** One remedy for many targets. Its digest covers every plan in it: what was approved is what runs, in these waves. */
export interface Rollout {
  name: string;
  inventory: string;
  requester: string;
  /** Milliseconds since the epoch: afterwards nobody can approve it. */
  expiresAt: number;
  /** Afterwards no node takes a change of it, approved or not. */
  endsAt: number;
  remedy: string;
  title: string;
  risk: string;
  rules: RolloutRules;
  waves: Part[][];
  skipped: Skipped[];
}

export interface SignedRollout {
  rollout: Rollout;
  digest: string;
}

export interface RolloutInput {
  inventory: string;
  requester: string;
  targets: string[];
  rules: RolloutRules;
  windowMs: number;
  /** So many targets are diagnosed at the same time: their probes would take each other's CPU time. */
  atOnce: number;
  visible: boolean;
}

/** What a plan needs of a target's diagnosis. */
export type PartDiagnosis = Pick<DiagnoseResult, 'run' | 'path' | 'evidence' | 'runbook' | 'conclusion'> & {
  target: string;
};

export type RowState =
  | 'waiting' | 'diagnosing' | 'skipped' | 'planned' | 'diagnosing again' | 'changing'
  | 'confirmed' | 'healed' | 'refused' | 'failed' | 'not started' | 'undone' | 'not undone'; // prettier-ignore

/** How one target stands. */
export interface RolloutRow {
  target: string;
  node?: string;
  zone?: string;
  /** From 1. */
  wave?: number;
  state: RowState;
  says: string;
  changes: ChangeResult[];
  /** What was read back when it was put back after all. */
  undone?: { place: string; state: string; proof: string[] }[];
}

export interface RolloutProgress {
  phase: 'diagnosing' | 'planning' | 'waiting for approval' | 'changing' | 'putting back' | 'done';
  wave?: number;
  rows: RolloutRow[];
  signed?: SignedRollout;
  /** What people must give. */
  needs?: readonly Need[];
  decisions: RecordedDecision[];
}

/** `stopped`: too many failed, and everything is back. `failed`: too many failed, and something would not go back. */
export type RolloutOutcome =
  | 'confirmed' | 'healed' | 'partly' | 'stopped' | 'failed' | 'rejected' | 'expired' | 'refused' | 'no-remedy' | 'cancelled'; // prettier-ignore

export interface RolloutResult {
  outcome: RolloutOutcome;
  says: string;
  rows: RolloutRow[];
  signed?: SignedRollout;
  needs?: readonly Need[];
  decisions: RecordedDecision[];
  report?: string;
}

export const rolloutId = (name: string): string => `rollout/${name}`;

/** Its targets in few words: `a->c`, or `20 targets`. */
export const targetsText = (targets: readonly string[]): string =>
  targets.length > 1 ? `${targets.length} targets` : (targets[0] ?? '');

/** Whether a target's state, or a rollout's outcome, is a good one. */
export function toneOf(state: RowState | RolloutOutcome): 'good' | 'bad' | 'warn' {
  if (state === 'confirmed' || state === 'healed') return 'good';
  return state === 'failed' || state === 'not undone' ? 'bad' : 'warn';
}

/** How many targets are in each state, in words: `17 confirmed, 3 healed`. */
export function tally(rows: readonly RolloutRow[]): string {
  const counts = Map.groupBy(rows, ({ state }) => state);
  return [...counts].map(([state, all]) => `${all.length} ${state}`).join(', ');
}

/** How a rollout ended that was carried out, by how its targets stand. @param stopped because too many failed */
export function endOf(rows: readonly RolloutRow[], stopped: boolean): Pick<RolloutResult, 'outcome' | 'says'> {
  const has = (...states: RowState[]): boolean => rows.some(({ state }) => states.includes(state));
  const says = tally(rows);
  if (stopped) {
    const [first] = rows.filter(({ state, wave }) => state === 'failed' && wave !== undefined);
    const why = `${first?.target}: ${first?.says}`;
    return has('not undone')
      ? { outcome: 'failed', says: `stopped, and not everything could be put back (${says}). ${why}` }
      : { outcome: 'stopped', says: `stopped, and everything is back as it was (${says}). ${why}` };
  }
  if (has('failed', 'refused')) return { outcome: has('confirmed') ? 'partly' : 'refused', says };
  return { outcome: has('confirmed') ? 'confirmed' : 'healed', says };
}
