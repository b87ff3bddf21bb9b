import { ApplicationFailure, condition, proxyActivities, setHandler, workflowInfo } from '@temporalio/workflow';
import type { Activities } from '../activities/index.ts';
import { type ApprovalPolicy, type Decision, type RecordedDecision, outcome, refusal } from '../domain/approval.ts';
import { causeOf } from '../domain/errors.ts';
import { decide, decision as decisionSignal } from './messages.ts';

const retry = { maximumAttempts: 5, initialInterval: '200ms' } as const;
const quick = proxyActivities<Activities>({ startToCloseTimeout: '20s', retry });

/** Refusals that are kept, of all and of each: one who is refused again and again is not to crowd out what others tried. */
const mostRefusals = { all: 100, each: 20 };

/** Takes people's decisions, by update or signal, and knows when enough of them came. */
export class Ballot {
  /** Decisions that count, with their signatures. */
  readonly counted: Decision[] = [];
  private readonly recorded: RecordedDecision[];
  private policy: ApprovalPolicy | undefined;
  private closed: string | undefined;

  /** @param recorded every decision that comes is added here, also those that do not count */
  constructor(recorded: RecordedDecision[]) {
    this.recorded = recorded;
    setHandler(
      decide,
      async (one) => {
        const said = await this.record(one);
        if (said.refused !== undefined) throw ApplicationFailure.nonRetryable(said.refused, 'Refused');
        return said;
      },
      { validator: (one) => this.admit(one), description: 'Approve or reject the plan by its digest' },
    );
    setHandler(decisionSignal, async (one) => void (await this.record(one)));
  }

  /** From now on people can decide, by these rules. */
  open(policy: ApprovalPolicy): void {
    this.policy = policy;
  }

  /** From now on nobody's decision counts. @param why what they are told, with what they can do instead */
  close(why: string): void {
    this.closed = why;
  }

  /** Waits until enough people approved, one rejected, or the time is over. Silence never approves. */
  async decided(): Promise<'approved' | 'rejected' | 'expired'> {
    const { policy } = this;
    if (!policy) return 'expired';
    const stands = (): ReturnType<typeof outcome> => outcome(policy, this.recorded);
    await condition(() => stands() !== 'open', Math.max(1, policy.expiresAt - Date.now()));
    const last = stands();
    return last === 'open' ? 'expired' : last;
  }

  /** Who rejected it, and why. */
  rejection(): string {
    const last = this.recorded.findLast(({ decision, refused }) => decision === 'reject' && refused === undefined);
    return `${last?.principal ?? 'somebody'} rejected it: ${last?.reason ?? ''}`;
  }

  /** What is refused here leaves no trace: only what is no decision, and what there is no room to record. */
  private admit(decision: Decision): void {
    wellFormed(decision);
    if (this.full(decision.principal)) this.validate(decision);
  }

  private validate(decision: Decision): void {
    const why = this.policy
      ? (this.closed ?? refusal(this.policy, this.recorded, decision, Date.now()))
      : 'there is no plan yet';
    if (why !== undefined) throw ApplicationFailure.nonRetryable(why, 'Refused');
  }

  /** Refusals are kept as a trail, but not without end: anybody can be refused again and again. */
  private full(principal: string): boolean {
    const refused = this.recorded.filter((one) => one.refused !== undefined);
    const theirs = refused.filter((one) => one.principal === principal);
    return refused.length >= mostRefusals.all || theirs.length >= mostRefusals.each;
  }

  private async record(decision: Decision): Promise<RecordedDecision> {
    const recorded: RecordedDecision = { decision: 'reject', principal: '', reason: '', at: Date.now() };
    try {
      wellFormed(decision);
      Object.assign(recorded, {
        decision: decision.decision,
        principal: decision.principal,
        reason: decision.reason,
        ...(decision.via !== undefined && { via: decision.via }),
      });
      this.validate(decision);
      await quick.authenticate(workflowInfo().workflowId, decision);
      // Another decision may have come in while the signature was checked.
      this.validate(decision);
      this.counted.push(decision);
    } catch (error) {
      recorded.refused = causeOf(error);
    }
    if (recorded.refused === undefined || !this.full(recorded.principal)) this.recorded.push(recorded);
    return recorded;
  }
}

/** A signal may carry anything. @throws ApplicationFailure for what is no decision */
function wellFormed(decision: unknown): void {
  const fields = typeof decision === 'object' && decision !== null ? (decision as Record<string, unknown>) : {};
  const texts = ['digest', 'decision', 'principal', 'reason', 'signature'].map((name) => fields[name]);
  const plain = [...texts, fields['via'] ?? ''].every((text) => typeof text === 'string' && text.length <= 2000);
  if (!plain || !['approve', 'reject'].includes(String(fields['decision'])))
    throw ApplicationFailure.nonRetryable('that is no decision', 'Refused');
}
