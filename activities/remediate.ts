import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type ApprovalPolicy, type Decision, policyFor } from '../domain/approval.ts';
import type { SignedPlan } from '../domain/plan.ts';
import type { Proposal } from '../domain/proposal.ts';
import type { Judgement } from '../domain/remit.ts';
import { remediationMarkdown } from '../domain/report.ts';
import type { RemediateInput, RemediateResult } from '../domain/runs.ts';
import { type Deps, beating, hopeless, plainRun, unlessStopped } from './deps.ts';
import { makePlan } from './plan.ts';
import { forged } from './signature.ts';

export interface Planned {
  signed?: SignedPlan;
  policy?: ApprovalPolicy;
  /** What the inventory's auto-remediation policy says, where there is one. */
  judged?: Judgement;
  /** Why there is no plan, and what others should change instead. */
  says?: string;
  proposals?: Proposal[];
}

export function remediateActivities(deps: Deps) {
  const { inventory, runs } = deps;
  return {
    /** The plan with live before-values, and the rules by which people decide on it. */
    async plan(input: RemediateInput): Promise<Planned> {
      await unlessStopped(deps);
      const made = await beating(async () => makePlan(deps, input));
      const { judged, signed } = made;
      if (!signed) return made;
      // Nobody signs for a standing approval: that this worker made the plan is what arming goes by.
      if (judged?.approvals === 'standing') await deps.store.put(signed.plan);
      const policy = policyFor(inventory.approval, signed.plan, signed.digest, judged?.people);
      return { signed, policy, ...(judged && { judged }) };
    },

    /** Checks a decision's signature against the key that the worker's own inventory has for its principal or gateway. */
    async authenticate(workflowId: string, decision: Decision): Promise<void> {
      const why = forged(inventory.approval, workflowId, decision);
      if (why !== undefined) throw hopeless(why, 'Forged');
    },

    /** Writes remediation-DIGEST.md and .json beside the run's report, a pair for each plan; returns the first's path. */
    async writeRemediation(workflowId: string, run: string, result: Omit<RemediateResult, 'report'>): Promise<string> {
      const folder = join(runs, plainRun(run));
      await mkdir(folder, { recursive: true });
      const name = join(
        folder,
        `remediation-${result.signed?.digest.slice(0, 12) ?? (result.proposals ? 'proposed' : 'none')}`,
      );
      await writeFile(`${name}.md`, remediationMarkdown(workflowId, result));
      await writeFile(`${name}.json`, JSON.stringify(result, null, 2));
      return `${name}.md`;
    },
  };
}
