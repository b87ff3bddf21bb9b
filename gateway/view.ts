import { needed, policyFor, refusal } from '../domain/approval.ts';
import type { Inventory } from '../domain/inventory.ts';
import type { SignedPlan } from '../domain/plan.ts';
import type { RecordedDecision } from '../domain/approval.ts';
import type { ChangeResult } from '../domain/runs.ts';
import type { Principal } from './people/roles.ts';

/** All else that an approver has to know, as pairs of a name and a text. */
export function factsOf({ plan }: SignedPlan, { approval }: Inventory, digest: string): [string, string][] {
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
    ['needs', needed(policyFor(approval, plan, digest).needs)],
    ['expires', new Date(plan.expiresAt).toISOString()],
  ];
}

/** Why somebody's approval of a plan would not count, as far as it can be known before; undefined where it would. */
export function mayNot(
  who: Principal,
  { plan, digest }: SignedPlan,
  decisions: readonly RecordedDecision[],
  { approval }: Inventory,
  now: number,
): string | undefined {
  if (who.kind !== 'person') return 'a machine never decides';
  const decision = { digest, decision: 'approve' as const, principal: who.name, reason: '' };
  return refusal(policyFor(approval, plan, digest), decisions, decision, now);
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
  ...proof.map((line) => `${place}, read back: ${line.length > 160 ? `${line.slice(0, 160)} …` : line}`),
];
