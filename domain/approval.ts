/** One thing that a plan needs: so many approvals of people of a group; without a group, of any approvers. */
export interface Need {
  group?: string | undefined;
  quorum: number;
}

/** The approval rules of an inventory. */
export interface ApprovalRules {
  approvers: readonly Approver[];
  quorum: number;
  /** For plans of a risk, instead of the plain quorum. */
  needs: Partial<Record<string, readonly Need[]>>;
  gateways: readonly { name: string; key: string }[];
}

export interface Approver {
  name: string;
  /** Without one, this person decides through a gateway only. */
  key?: string | undefined;
  groups: readonly string[];
}

/** Rules of approval of one plan, pure and without a clock: the workflow hands the time in. */
export interface ApprovalPolicy {
  digest: string;
  /** Who asked for the plan: may not decide on it. */
  requester: string;
  approvers: readonly Approver[];
  needs: readonly Need[];
  /** Milliseconds since the epoch. */
  expiresAt: number;
}

export interface Decision {
  digest: string;
  decision: 'approve' | 'reject';
  principal: string;
  reason: string;
  /** The gateway that knew who it was, and signed for them. Left out: the principal's own ssh key signed. */
  via?: string;
  /** Signature of `signedText`, base64. */
  signature: string;
}

export interface RecordedDecision {
  decision: 'approve' | 'reject';
  principal: string;
  reason: string;
  at: number;
  via?: string;
  /** Why it did not count; undefined for one that did. */
  refused?: string;
}

/** What a decision's signature covers: nobody can move it to another plan, run, answer, person or reason. */
export const signedText = (
  workflowId: string,
  { digest, decision, principal, reason, via }: Omit<Decision, 'signature'>,
): string => ['undrop decision 2', workflowId, digest, decision, principal, via ?? '', reason].join('\n');

/** The rules as they hold for one plan. @param own needs of a policy's rule, instead of the inventory's */
export const policyFor = (
  { approvers, quorum, needs }: ApprovalRules,
  { requester, risk, expiresAt }: { requester: string; risk: string; expiresAt: number },
  digest: string,
  own?: readonly Need[],
): ApprovalPolicy => ({ digest, requester, approvers, needs: own ?? needsFor({ quorum, needs }, risk), expiresAt });

/** What people must give for a plan of this risk. */
export const needsFor = ({ quorum, needs }: Pick<ApprovalRules, 'quorum' | 'needs'>, risk: string): readonly Need[] =>
  needs[risk] ?? [{ quorum }];

/** The key that must have signed a decision: the principal's own, or that of the gateway which speaks for them. */
export const keyFor = (
  { approvers, gateways }: Pick<ApprovalRules, 'approvers' | 'gateways'>,
  { principal, via }: Pick<Decision, 'principal' | 'via'>,
): string | undefined =>
  via === undefined
    ? approvers.find(({ name }) => name === principal)?.key
    : gateways.find(({ name }) => name === via)?.key;

/** Why a decision does not count, or undefined. The signature is checked elsewhere. */
export function refusal(
  policy: ApprovalPolicy,
  recorded: readonly RecordedDecision[],
  decision: Omit<Decision, 'signature'>,
  now: number,
): string | undefined {
  const counted = recorded.filter(({ refused }) => refused === undefined);
  if (outcome(policy, recorded) !== 'open') return `the plan is already ${outcome(policy, recorded)}`;
  if (now >= policy.expiresAt) return 'the approval has expired; make a new plan';
  if (decision.digest !== policy.digest)
    return `the plan has the digest ${policy.digest.slice(0, 12)}, not ${decision.digest.slice(0, 12)}: look at it again`;
  if (decision.principal === policy.requester)
    return `${decision.principal} asked for this plan and may not decide on it`;
  const approver = policy.approvers.find(({ name }) => name === decision.principal);
  if (!approver)
    return `${decision.principal} is not among the approvers (${policy.approvers.map(({ name }) => name).join(', ') || 'there are none'})`;
  if (counted.some(({ principal }) => principal === decision.principal))
    return `${decision.principal} has already decided`;
  if (decision.decision === 'reject') return decision.reason.trim() === '' ? 'a rejection needs a reason' : undefined;
  if (!policy.needs.some(({ group }) => group === undefined || approver.groups.includes(group)))
    return `this plan needs approvals of ${needed(policy.needs)}, and ${decision.principal} is of none of these groups`;
  return undefined;
}

/** One rejection ends it; approvals that meet every need open it. Silence never approves. */
export function outcome(
  policy: ApprovalPolicy,
  recorded: readonly RecordedDecision[],
): 'open' | 'approved' | 'rejected' {
  const counted = recorded.filter(({ refused }) => refused === undefined);
  if (counted.some(({ decision }) => decision === 'reject')) return 'rejected';
  const seats = policy.needs.flatMap(({ group, quorum }) => Array.from({ length: quorum }, () => group));
  const people = counted.map(({ principal }) => policy.approvers.find(({ name }) => name === principal)?.groups ?? []);
  return seats.length > 0 && seated(seats, people) ? 'approved' : 'open';
}

/** Whether every seat can be taken by somebody else: one person of two groups does not stand for both. */
function seated([group, ...seats]: (string | undefined)[], people: (readonly string[])[]): boolean {
  if (people.length < seats.length + 1) return false;
  return people.some(
    (groups, index) =>
      (group === undefined || groups.includes(group)) &&
      (seats.length === 0 || seated(seats, people.toSpliced(index, 1))),
  );
}

/** What still has to be given, in words: `1 of sre, 1 of network`. */
export const needed = (needs: readonly Need[]): string =>
  needs
    .map(({ group, quorum }) => (group === undefined ? `${quorum} of the approvers` : `${quorum} of ${group}`))
    .join(', ');
