import { type Operation, described } from './operation.ts';
import type { Proposal } from './proposal.ts';

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
  /** So long it must go on helping before it is confirmed. Left out: it is confirmed at once. */
  soakSeconds?: number;
  /** The node reverts by itself when nobody confirmed within this time. */
  revertAfterSeconds: number;
  risk: string;
  cost: string;
  owner: string;
  lasts: string;
  /** Remedies that come first for the cause and cannot be used here, and why. */
  ruledOut?: string[];
  /** What the owners of settings have to change for it to last; undrop never does. */
  proposals?: Proposal[];
  reversible: boolean;
  /** What else lives where the change happens. */
  radius: Radius;
  /** The policy that judged it: edited since, it voids the plan. `standing`: approved by itself, with so many permits. */
  policy?: { digest: string; rule?: string; shadow?: true; standing?: { atOnce: number } };
}

/** Numbers are null where they could not be read. */
export interface Radius {
  /** Tracked flows; with `exact` only these are touched, else it is all that the table held. */
  flows: number | null;
  exact?: true;
  /** Of a cluster's nodes, read for the plan: tracked UDP flows, and running pods. */
  udp?: number | null;
  pods?: number | null;
  /** With endpoints there; in a cluster also those with clients there. */
  services: string[];
  /** Why Services could not be listed. */
  unlisted?: string;
}

export interface SignedPlan {
  plan: Plan;
  digest: string;
}

/** Places where exactly the same is done, from the same values to the same. */
export interface ChangeGroup {
  operations: string[];
  places: string[];
}

/** Changes by what is done, so that hundreds of nodes in the same state are read as one. */
export function groupsOf(changes: readonly PlannedChange[]): ChangeGroup[] {
  const groups = new Map<string, ChangeGroup>();
  for (const { place, node, operations } of changes) {
    const lines = operations.map(described);
    const key = lines.join('\n');
    const group = groups.get(key) ?? { operations: lines, places: [] };
    group.places.push(place === node ? place : `${place} on ${node}`);
    groups.set(key, group);
  }
  return [...groups.values()];
}

/** So many Services are named; of the rest the number is told. */
const mostNames = 5;

const counted = (count: number | null, what: string): string =>
  count === null ? `an unknown number of ${what}` : `${count.toLocaleString('en-US')} ${what}`;

/** `1,204 tracked flows (87 UDP flows); 23 pods; Services there: a, b, +3 more` */
export function radiusLine({ flows, exact, udp, pods, services, unlisted }: Radius): string {
  const more = services.length > mostNames ? [`+${services.length - mostNames} more`] : [];
  const unknown = unlisted === undefined ? 'none known' : `unknown (${unlisted})`;
  const named = [...services.slice(0, mostNames), ...more].join(', ') || unknown;
  if (exact) return `exactly ${counted(flows, 'tracked flows')}; of Services: ${named}`;
  return [
    `${counted(flows, 'tracked flows')}${udp === undefined ? '' : ` (${counted(udp, 'UDP flows')})`}`,
    ...(pods === undefined ? [] : [counted(pods, 'pods')]),
    `Services there: ${named}`,
  ].join('; ');
}
