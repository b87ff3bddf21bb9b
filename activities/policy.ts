import { readFile } from 'node:fs/promises';
import { Context } from '@temporalio/activity';
import { needsFor, outcome, policyFor, refusal } from '../domain/approval.ts';
import { digestOf } from '../domain/digest.ts';
import type { Inventory } from '../domain/inventory.ts';
import type { Plan } from '../domain/plan.ts';
import { Policy } from '../domain/policy.ts';
import { type Judgement, judgePolicy, judgementText } from '../domain/remit.ts';
import type { Rollout } from '../domain/rollout.ts';
import type { Runbook } from '../domain/runbook.ts';
import type { ChangeInput } from '../domain/runs.ts';
import { FileError, parseYaml } from '../domain/yaml.ts';
import { type Deps, beating, hopeless } from './deps.ts';
import { forged } from './signature.ts';

/** A policy as its file has it now. The digest is of what it says, not of its comments. */
export interface Rules {
  policy: Policy;
  digest: string;
}

/** @throws FileError for a file that is not there, or wrong */
export async function loadPolicy(file: string): Promise<Rules> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new FileError(error.code === 'ENOENT' ? `there is no policy ${file}` : `${file}: ${error.message}`);
  });
  const policy = parseYaml(text, file, Policy);
  return { policy, digest: digestOf(policy) };
}

/** Read anew for each judgement: a freeze that is written now holds now. Undefined where the inventory names none. */
const rulesOf = async ({ policy }: Inventory): Promise<Rules | undefined> =>
  policy === undefined
    ? undefined
    : loadPolicy(policy).catch((error: unknown) => {
        throw error instanceof FileError ? hopeless(`the policy cannot be used: ${error.message}`, 'Refused') : error;
      });

/** Whether the cause that was proved at each place names the remedy, so that nobody had to choose it. */
export const provedBy = ({ causes }: Pick<Runbook, 'causes'>, { changes, remedy }: Plan): boolean =>
  changes.every(({ cause }) => causes.find(({ id }) => id === cause)?.remedies.includes(remedy));

async function judge(deps: Deps, { policy }: Rules, plan: Plan, permit?: string): Promise<Judgement> {
  const { inventory, runbook, ledger } = deps;
  const now = Date.now();
  return judgePolicy(policy, plan, {
    now,
    needs: needsFor(inventory.approval, plan.risk),
    approvers: inventory.approval.approvers.map(({ name }) => name),
    proved: provedBy(runbook, plan),
    automatic: ledger
      ? await beating(async () => ledger.automatic(now - hoursBack(policy) * 3_600_000))
      : 'this worker cannot count automatic changes',
    ...(permit !== undefined && { permit }),
  });
}

/** So far back failures still count. */
const hoursBack = ({ rules, breaker }: Policy): number =>
  Math.max(24, breaker.cooldownMinutes / 60, ...rules.map(({ errorBudget }) => errorBudget.perHours));

/** What the policy says of a plan that is being made. */
export async function judgedBy(
  deps: Deps,
  plan: Plan,
): Promise<{ policy?: NonNullable<Plan['policy']>; judged?: Judgement }> {
  const rules = await rulesOf(deps.inventory);
  if (!rules) return {};
  const judged = await judge(deps, rules, plan);
  const rule = rules.policy.rules.find(({ name }) => name === judged.rule);
  const policy = {
    digest: rules.digest,
    ...(rule && { rule: rule.name }),
    ...(judged.shadow && { shadow: true as const }),
    ...(judged.approvals === 'standing' && rule && { standing: { atOnce: rule.atOnce } }),
  };
  return { policy, judged };
}

/**
 * Whether a plan may be carried out now, by this worker's own files and the signatures: what a workflow says of approvals is
 * not believed.
 * @param permit workflow id of the permit that the change holds, for plans that nobody signed
 * @throws ApplicationFailure `Refused` with the reason
 */
export async function requireApproved(deps: Deps, input: ChangeInput, permit?: string): Promise<void> {
  const { inventory, store } = deps;
  const { plan, digest } = input.signed;
  const refuse = (why: string): never => {
    throw hopeless(why, 'Refused');
  };
  if (plan.target !== undefined && plan.target !== input.path.text) refuse(`the plan is of the path ${plan.target}`);
  const rules = await rulesOf(inventory);
  if (plan.policy?.digest !== rules?.digest) refuse('the policy was changed since the plan was made; plan again');
  const judged = rules && (await judge(deps, rules, plan, permit));
  if (judged?.approvals === 'refused') refuse(`the policy refuses it: ${judgementText(judged)}`);
  const approved = input.rollout === undefined ? { ...plan, digest } : await rolloutWith(deps, input.rollout, digest);
  const policy = policyFor(inventory.approval, approved, approved.digest, judged?.people);
  const counted: Parameters<typeof outcome>[1][number][] = [];
  for (const decision of input.approvals) {
    const why =
      refusal(policy, counted, decision, Date.now()) ?? forged(inventory.approval, input.remediation, decision);
    if (why !== undefined) refuse(why);
    counted.push({ ...decision, at: Date.now() });
  }
  if (outcome(policy, counted) === 'approved') return;
  if (input.rollout !== undefined || !plan.policy?.standing || !judged) return refuse('the plan is not approved');
  if (judged.approvals !== 'standing')
    refuse(`the standing approval does not hold any more: ${judged.against.join('; ') || judgementText(judged)}`);
  if (Date.now() >= plan.expiresAt) refuse('the approval has expired; make a new plan');
  // Whoever can start workflows could bring any plan: only one that this worker has made stands for its digest.
  await store.get(digest).catch(() => refuse('no worker of this inventory has made this plan'));
  const change = Context.current().info.workflowExecution;
  if (permit === undefined || !change || !(await deps.ledger?.holds(permit, change)))
    refuse('the change holds no permit of its rule');
}

/**
 * The rollout that people approved, as this worker made it, if the plan is one of its own.
 * @throws ApplicationFailure `Refused`
 */
async function rolloutWith(
  { store, inventory }: Deps,
  digest: string,
  plan: string,
): Promise<{ requester: string; risk: string; expiresAt: number; digest: string }> {
  const rollout = await store.get<Rollout>(digest).catch(() => {
    throw hopeless('no worker of this inventory has made this rollout', 'Refused');
  });
  const own = rollout.inventory === inventory.name && rollout.waves.flat().some((part) => part.digest === plan);
  if (!own) throw hopeless('the plan is not one of the rollout that was approved', 'Refused');
  // Until here it may be approved; the last of its waves comes long after that.
  return { requester: rollout.requester, risk: rollout.risk, expiresAt: rollout.endsAt, digest };
}
