import { fits, fitsEnds } from './globs.ts';
import { type Need, type RecordedDecision, needed } from './approval.ts';
import { type Automatic, type Limit, breakerOf, budgetOf } from './automatic.ts';
import type { Plan } from './plan.ts';
import type { Policy, PolicyRule } from './policy.ts';
import { isOpen, windowText } from './windows.ts';

/** What a policy is held against besides the plan; handed in, so that the same gives the same. */
export interface PolicyContext {
  /** Milliseconds since the epoch. */
  now: number;
  /** What people must give where no rule says so: the inventory's rules for the plan's risk. */
  needs: readonly Need[];
  /** Names of the inventory's approvers. */
  approvers: readonly string[];
  /** Whether the remedy is one that the proved cause of each place names. */
  proved: boolean;
  /** Automatic changes in progress, and those that ended lately; a text says why they are not known. */
  automatic: readonly Automatic[] | string;
  /** Workflow id of the permit that the change which is judged has already. */
  permit?: string;
}

/** `standing`: nobody needs to be asked. `refused`: nobody may. Else what people must give. */
export type Approvals = 'standing' | 'refused' | readonly Need[];

export interface Judgement {
  /** The first rule that matches; none: people, as the inventory says. */
  rule?: string;
  approvals: Approvals;
  /** What people must give where they are asked. */
  people: readonly Need[];
  shadow: boolean;
  /** In shadow mode: what it would have been. */
  would?: Approvals;
  /** Each limit with its number, in the order of the file. */
  why: string[];
  /** Those that do not hold. */
  against: string[];
}

/** Which rule decides on a plan now, and what it asks for. Pure: no clock, no I/O. */
export function judgePolicy(policy: Policy, plan: Plan, context: PolicyContext): Judgement {
  const rule = policy.rules.find((one) => matches(one, plan));
  const { needs } = context;
  if (!rule)
    return { approvals: needs, people: needs, shadow: false, why: ['no rule matches, so people decide'], against: [] };
  const limits = limitsOf(policy, rule, plan, context);
  const against = limits.filter(({ holds }) => !holds).map(({ says }) => says);
  const own = rule.approvals === 'none' ? needs : rule.approvals;
  const within: Approvals = rule.approvals === 'none' ? 'standing' : own;
  const otherwise = rule.otherwise ?? (rule.approvals === 'none' ? 'people' : 'refuse');
  const beyond: Approvals = otherwise === 'refuse' ? 'refused' : own;
  const would = against.length ? beyond : within;
  const found = { rule: rule.name, why: limits.map(({ says }) => says), against };
  // A shadow leaves no trace: what happens is what would happen without the rule.
  if (rule.mode === 'shadow') return { ...found, approvals: needs, people: needs, shadow: true, would };
  return { ...found, approvals: would, people: own, shadow: false };
}

const known = <T>(wanted: readonly T[] | undefined, one: T): boolean => wanted?.includes(one) ?? true;
const alike = (globs: readonly string[] | undefined, all: readonly string[]): boolean =>
  globs === undefined || (all.length > 0 && all.every((one) => globs.some((glob) => fits(glob, one))));

/** What is not known matches nothing that a rule asks for. */
function matches(rule: PolicyRule, plan: Plan): boolean {
  return (
    known(rule.remedies, plan.remedy) &&
    known<string>(rule.risks, plan.risk) &&
    plan.changes.every(({ cause }) => known(rule.causes, cause)) &&
    alike(rule.nodes, nodesOf(plan)) &&
    alike(rule.services, plan.radius.services) &&
    (rule.targets === undefined || (plan.target !== undefined && fitsEnds(rule.targets, plan.target))) &&
    alike(rule.requesters, [plan.requester])
  );
}

const nodesOf = (plan: Plan): string[] => [...new Set(plan.changes.map(({ node }) => node))];

function limitsOf(policy: Policy, rule: PolicyRule, plan: Plan, context: PolicyContext): Limit[] {
  const { now, proved } = context;
  const limits: Limit[] = [];
  if (rule.standing) limits.push(standing(rule.standing, plan, context));
  if (rule.windows) {
    const open = rule.windows.find((one) => isOpen(one, now));
    const says = open ? `within ${windowText(open)}` : `outside of ${rule.windows.map(windowText).join('; ')}`;
    limits.push({ holds: open !== undefined, says });
  }
  for (const { from, to, reason } of [...policy.freezes, ...rule.freezes])
    if (now >= Date.parse(from) && now < Date.parse(to))
      limits.push({ holds: false, says: `frozen until ${to}: ${reason}` });
  if (rule.largest) {
    limits.push(atMost('nodes', nodesOf(plan).length, rule.largest.nodes));
    limits.push(atMost('tracked flows', plan.radius.flows, rule.largest.flows));
    limits.push(atMost('Services', plan.radius.unlisted ? null : plan.radius.services.length, rule.largest.services)); // prettier-ignore
  }
  if (!plan.reversible && !rule.irreversible) limits.push({ holds: false, says: 'it cannot be undone' });
  if (!proved && !rule.unproved)
    limits.push({ holds: false, says: 'somebody chose this remedy, and no proved cause names it' });
  if (rule.approvals === 'none') limits.push(...ofEarlier(policy, rule, context));
  return limits;
}

function atMost(what: string, count: number | null, most: number | 'any'): Limit {
  if (most === 'any') return { holds: true, says: `${count ?? 'unknown'} ${what}, of any number` };
  return { holds: count !== null && count <= most, says: `${count ?? 'an unknown number of'} ${what}, at most ${most}` }; // prettier-ignore
}

/** Its last day ends with the day in UTC. Whoever asked for a plan does not stand for its approval. */
function standing(
  { by, given, until }: NonNullable<PolicyRule['standing']>,
  { requester }: Plan,
  { now, approvers }: PolicyContext,
): Limit {
  const names = by.join(', ');
  const strangers = by.filter((name) => !approvers.includes(name));
  if (strangers.length)
    return { holds: false, says: `standing approval of ${strangers.join(', ')}, who is not among the approvers` };
  if (by.every((name) => name === requester))
    return { holds: false, says: `standing approval of ${names} alone, who asked for this plan` };
  if (now < Date.parse(given)) return { holds: false, says: `standing approval of ${names} begins on ${given}` };
  if (now >= Date.parse(until) + 86_400_000)
    return { holds: false, says: `standing approval of ${names} expired on ${until}` };
  return { holds: true, says: `standing approval of ${names} until ${until}` };
}

/** Limits by what became of earlier automatic changes. Where that is not known, none of them holds. */
function ofEarlier(policy: Policy, rule: PolicyRule, { automatic, now, permit }: PolicyContext): Limit[] {
  if (typeof automatic === 'string') return [{ holds: false, says: automatic }];
  return [
    inProgress(rule, automatic, permit),
    budgetOf(rule, automatic, now),
    breakerOf(policy, automatic, now, permit),
  ];
}

/** Says, and does not hold anybody up: a change waits for one of the rule's permits, and more than those there are not. */
function inProgress({ name, atOnce }: PolicyRule, automatic: readonly Automatic[], permit: string | undefined): Limit {
  const others = automatic.filter((one) => one.rule === name && one.endedAt === undefined && one.permit !== permit);
  const held = permit === undefined ? '' : ', this one beside them';
  return { holds: true, says: `${others.length} of at most ${atOnce} automatic changes in progress${held}` };
}

export const approvalsText = (approvals: Approvals): string => {
  if (approvals === 'standing') return 'needs nobody';
  return approvals === 'refused' ? 'nobody may' : `needs ${needed(approvals)}`;
};

/** One line for progress, reports and commands. */
export function judgementText({ rule, shadow, approvals, would, why, against }: Judgement): string {
  const reasons = (against.length ? against : why).join('; ');
  if (rule === undefined) return reasons;
  return shadow
    ? `shadow: rule ${rule} would have said "${approvalsText(would ?? approvals)}" (${reasons})`
    : `rule ${rule}: ${approvalsText(approvals)} (${reasons})`;
}

/** How a standing approval stands in the trail of decisions. */
export const decisionOf = ({ rule, why }: Judgement, at: number): RecordedDecision => ({
  decision: 'approve',
  principal: `policy:${rule ?? ''}`,
  reason: why.join('; '),
  at,
});

/** Workflow id of one of the permits of a rule: the server has each at most once. */
export const permitId = (inventory: string, rule: string, slot: number): string =>
  `permit/${inventory}/${rule}/${slot}`;
