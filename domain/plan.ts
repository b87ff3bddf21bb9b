import type { Operation } from './operation.ts';

/** What happens at one place, with live before-values. Approved is this machine and namespace, not only its name. */
export interface PlannedChange {
  place: string;
  node: string;
  /** Digest of how the inventory reaches the node and the namespace there. */
  reach: string;
  cause: string;
  /** Set where the loss was on the way back through this place. */
  way?: 'back';
  operations: Operation[];
}

/** A remedy for concrete places. Its digest covers every field: what was approved is what runs. */
export interface Plan {
  /** The diagnosis that it follows from, and who asked for the plan: a requester may not approve it. */
  run: string;
  /** What was diagnosed, as text: policies may speak of it. */
  target?: string;
  /** Name of the inventory: only its workers carry the plan out. */
  inventory: string;
  requester: string;
  /** Milliseconds since the epoch: afterwards nobody can approve it and no node takes it. */
  expiresAt: number;
  runbook: string;
  evidence: string;
  remedy: string;
  title: string;
  changes: PlannedChange[];
  /** Steps whose loss must be gone afterwards, with what they lost before. */
  verify: { step: string; sent: number; lost: number }[];
  predict: string;
  /** The effect shows within this time, or the change is reverted. */
  withinSeconds: number;
  /** The node reverts by itself when nobody confirmed within this time. */
  revertAfterSeconds: number;
  risk: string;
  cost: string;
  owner: string;
  lasts: string;
  /** Remedies that come first for the cause and cannot be used here, and why. */
  ruledOut?: string[];
  reversible: boolean;
  /** What else lives where the change happens: tracked flows (null: unknown) and Services with endpoints there. */
  radius: { flows: number | null; services: string[]; unknownServices?: true };
  /** The policy that judged it: edited since, it voids the plan. `standing`: approved by itself, with so many permits. */
  policy?: { digest: string; rule?: string; shadow?: true; standing?: { atOnce: number } };
}

export interface SignedPlan {
  plan: Plan;
  digest: string;
}
