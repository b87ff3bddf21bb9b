import {
  type ApprovalPolicy,
  type Need,
  type RecordedDecision,
  needed,
  policyFor,
  refusal,
} from '../domain/approval.ts';
import type { Inventory } from '../domain/inventory.ts';
import { type ChangeGroup, type SignedPlan, groupsOf } from '../domain/plan.ts';
import { type SignedRollout, targetsText } from '../domain/rollout.ts';
import { rolloutFacts } from '../domain/rollout-facts.ts';
import type { ChangeResult } from '../domain/runs.ts';
import type { Principal } from './people/roles.ts';

/** What people decide on, as every door shows it. */
export interface Shown {
  digest: string;
  title: string;
  risk: string;
  /** Places where the same is done are read as one. */
  groups: ChangeGroup[];
  /** All else that an approver has to know, as pairs of a name and a text. */
  facts: [string, string][];
  policy: ApprovalPolicy;
}

/** A plan or a rollout as its page shows it: what is decided on, and how that went. */
export interface Decidable extends Shown {
  recorded: readonly RecordedDecision[];
  decisions: string[];
  /** What is done, a line each. */
  stages: string[];
  /** It waits for people. */
  waits: boolean;
  outcome?: string;
  ended?: string;
  good?: boolean;
}

/** A run or a rollout: where it is, and who may see it and decide on it. */
export interface Asked {
  /** Below the gateway's address. */
  path: string;
  /** The workflow that people decide in: their signatures are for it. */
  workflowId: string;
  /** Who may something with it may that with all of these. */
  targets: string[];
  plan?: Decidable;
  /** It will look different in a moment. */
  moving: boolean;
}

/**
 * What there is to see of a plan or a rollout before a decision.
 * @param own what people must give, where that is not by the inventory's rules for its risk
 */
export function shown(signed: SignedPlan | SignedRollout, { approval }: Inventory, own?: readonly Need[]): Shown {
  const { digest } = signed;
  const about = 'rollout' in signed ? signed.rollout : signed.plan;
  const policy = policyFor(approval, about, digest, own);
  const base = { digest, risk: about.risk, policy };
  if (!('rollout' in signed)) {
    const { plan } = signed;
    return { ...base, title: plan.title, groups: groupsOf(plan.changes), facts: factsOf(signed, policy.needs) };
  }
  const parts = signed.rollout.waves.flat();
  return {
    ...base,
    title: `${about.title}, for ${targetsText(parts.map(({ target }) => target))}`,
    groups: groupsOf(parts.flatMap(({ plan }) => plan.changes)),
    facts: rolloutFacts(signed, policy.needs),
  };
}

function factsOf({ plan }: SignedPlan, needs: readonly Need[]): [string, string][] {
  const flows = plan.radius.flows === null ? 'an unknown number of' : plan.radius.flows.toLocaleString('en-US');
  const undo = plan.reversible
    ? `stored on the node, which reverts by itself after ${plan.revertAfterSeconds} s unless confirmed`
    : 'deleted entries cannot be put back; they are learned anew';
  return [
    ['asked by', `${plan.requester}, for run ${plan.run} of ${plan.inventory}`],
    ['cures', plan.verify.map((one) => `${one.step}: ${one.lost} of ${one.sent} lost`).join(', ')],
    ['predicts', `${plan.predict} (within ${plan.withinSeconds} s, else it is reverted)`],
    ['risk', `${plan.risk}; cost: ${plan.cost}`],
    ['touches', `${flows} tracked flows, Services there: ${plan.radius.services.join(', ') || 'none known'}`],
    ['owner', plan.owner],
    ['lasts', plan.lasts],
    ...(plan.ruledOut ?? []).map((why): [string, string] => ['instead of', why]),
    ['undo', undo],
    ['needs', needed(needs)],
    ['expires', new Date(plan.expiresAt).toISOString()],
  ];
}

/** Why somebody's approval would not count, as far as it can be known before; undefined where it would. */
export function mayNot(
  who: Principal,
  { digest, policy, recorded }: Pick<Decidable, 'digest' | 'policy' | 'recorded'>,
  now: number,
): string | undefined {
  if (who.kind !== 'person') return 'a machine never decides';
  return refusal(policy, recorded, { digest, decision: 'approve', principal: who.name, reason: '' }, now);
}

export const decisionLine = ({ decision, principal, reason, at, via, refused }: RecordedDecision): string =>
  `${new Date(at).toISOString()} ${principal}${via === undefined ? '' : ` by ${via}`}: ${decision}` +
  `${reason ? `, "${reason}"` : ''}${refused === undefined ? '' : ` (did not count: ${refused})`}`;

/** What was measured and read back at each place, a line each. */
export const changeLines = ({ place, outcome, says, verification, proof }: ChangeResult): string[] => [
  `${place}: ${outcome}; ${says}`,
  ...(verification?.steps ?? []).map(
    ({ step, before, after }) =>
      `${place}, ${step}: lost ${before.lost} of ${before.sent} before, ${after.lost} of ${after.sent} after`,
  ),
  ...proof.map((line) => readBack(place, line)),
];

export const readBack = (place: string, line: string): string =>
  `${place}, read back: ${line.length > 160 ? `${line.slice(0, 160)} …` : line}`;
