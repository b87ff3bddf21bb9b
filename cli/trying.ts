import { needsFor } from '../domain/approval.ts';
import type { Automatic } from '../domain/automatic.ts';
import type { Inventory } from '../domain/inventory.ts';
import type { Policy } from '../domain/policy.ts';
import { type Approvals, type Judgement, judgePolicy, permitId } from '../domain/remit.ts';
import { provedBy } from '../activities/policy.ts';
import { loadRunbook } from '../runbooks/load.ts';
import type { Recorded } from './recorded.ts';

export interface Tried {
  run: string;
  at: string;
  plan: string;
  remedy: string;
  target?: string;
  places: string[];
  /** How the recorded remediation ended. */
  outcome: string;
  judged: Judgement;
  /** What the rule says, in shadow mode or not. */
  would: Approvals;
}

/**
 * Holds a policy against recorded remediations, in their order. Those that it would have let through count as its automatic
 * changes, with the outcome that they really had: so budgets and the breaker are tried as well. None is taken to overlap.
 * @param at judges all at this moment instead of each at its own
 * @param inventory whose approvers and needs count; left out: the people that the policy names, and any one approver
 */
export function tryPolicy(policy: Policy, runs: readonly Recorded[], at?: number, inventory?: Inventory): Tried[] {
  const { causes } = loadRunbook();
  const approval = inventory?.approval ?? { quorum: 1, needs: {} };
  const approvers =
    inventory?.approval.approvers.map(({ name }) => name) ?? policy.rules.flatMap(({ standing }) => standing?.by ?? []);
  const automatic: Automatic[] = [];
  return runs.map((recorded, index) => {
    const { plan, digest } = recorded.signed;
    const now = at ?? recorded.at;
    const judged = judgePolicy(policy, plan, {
      now,
      needs: needsFor(approval, plan.risk),
      approvers,
      proved: provedBy({ causes }, plan),
      automatic,
    });
    const would = judged.would ?? judged.approvals;
    if (would === 'standing' && judged.rule !== undefined)
      for (const { outcome } of recorded.result.changes)
        automatic.push({ permit: permitId('', judged.rule, index), rule: judged.rule, startedAt: now, endedAt: now, outcome }); // prettier-ignore
    return {
      run: recorded.run,
      at: new Date(now).toISOString(),
      plan: digest.slice(0, 12),
      remedy: plan.remedy,
      ...(plan.target !== undefined && { target: plan.target }),
      places: plan.changes.map(({ place }) => place),
      outcome: recorded.result.outcome,
      judged,
      would,
    };
  });
}

/**
 * Names in a policy that nobody has: a rule with one of them matches nothing, which is safe, but not what was meant.
 * @returns one sentence each
 */
export function strangersOf({ rules }: Policy, inventory?: Inventory): string[] {
  const runbook = loadRunbook();
  const groups = inventory?.approval.approvers.flatMap((one) => one.groups);
  const names = inventory?.approval.approvers.map(({ name }) => name);
  return rules.flatMap(({ name, remedies = [], causes = [], approvals, standing }) => [
    ...remedies
      .filter((id) => !runbook.remedies.some((one) => one.id === id))
      .map((id) => `rule ${name}: there is no remedy ${id}`),
    ...causes
      .filter((id) => !runbook.causes.some((one) => one.id === id))
      .map((id) => `rule ${name}: there is no cause ${id}`),
    ...(approvals === 'none' ? [] : approvals)
      .filter(({ group }) => groups && group !== undefined && !groups.includes(group))
      .map(({ group }) => `rule ${name}: no approver is of the group ${group}`),
    ...(standing?.by ?? [])
      .filter((one) => names && !names.includes(one))
      .map((one) => `rule ${name}: ${one} is not among the approvers`),
  ]);
}
