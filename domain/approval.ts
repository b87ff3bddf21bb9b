/** Rules of approval, pure and without a clock: the workflow hands the time in. */
export interface ApprovalPolicy {
  digest: string;
  /** Who asked for the plan: may not decide on it. */
  requester: string;
  approvers: { name: string; key: string }[];
  quorum: number;
  /** Milliseconds since the epoch. */
  expiresAt: number;
}

export interface Decision {
  digest: string;
  decision: 'approve' | 'reject';
  principal: string;
  reason: string;
  /** Signature of `signedText` by the principal's ssh key, base64. */
  signature: string;
}

export interface RecordedDecision {
  decision: 'approve' | 'reject';
  principal: string;
  reason: string;
  at: number;
  /** Why it did not count; undefined for one that did. */
  refused?: string;
}

/** What a decision's signature covers: nobody can move it to another plan, run, answer or reason. */
export const signedText = (
  workflowId: string,
  { digest, decision, principal, reason }: Omit<Decision, 'signature'>,
): string => ['undrop decision 1', workflowId, digest, decision, principal, reason].join('\n');

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
  if (!policy.approvers.some(({ name }) => name === decision.principal))
    return `${decision.principal} is not among the approvers (${policy.approvers.map(({ name }) => name).join(', ') || 'there are none'})`;
  if (counted.some(({ principal }) => principal === decision.principal))
    return `${decision.principal} has already decided`;
  if (decision.decision === 'reject' && decision.reason.trim() === '') return 'a rejection needs a reason';
  return undefined;
}

/** One rejection ends it; as many approvals as the quorum asks for open it. Silence never approves. */
export function outcome(
  policy: ApprovalPolicy,
  recorded: readonly RecordedDecision[],
): 'open' | 'approved' | 'rejected' {
  const counted = recorded.filter(({ refused }) => refused === undefined);
  if (counted.some(({ decision }) => decision === 'reject')) return 'rejected';
  return counted.filter(({ decision }) => decision === 'approve').length >= policy.quorum ? 'approved' : 'open';
}
