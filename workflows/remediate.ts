import {
  ApplicationFailure,
  ChildWorkflowCancellationType,
  CancellationScope,
  ParentClosePolicy,
  allHandlersFinished,
  condition,
  isCancellation,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  startChild,
  workflowInfo,
} from '@temporalio/workflow';
import type { Activities } from '../activities/index.ts';
import { type ApprovalPolicy, type Decision, type RecordedDecision, outcome, refusal } from '../domain/approval.ts';
import { described } from '../domain/operation.ts';
import type { SignedPlan } from '../domain/plan.ts';
import { decisionOf, judgementText } from '../domain/remit.ts';
import {
  type ChangeResult,
  type RemediateInput,
  type RemediateProgress,
  type RemediateResult,
  changeId,
} from '../domain/runs.ts';
import { publish } from './attributes.ts';
import { change } from './change.ts';
import { decide, decision as decisionSignal, remediateProgress } from './messages.ts';

const retry = { maximumAttempts: 5, initialInterval: '200ms' } as const;
const node = proxyActivities<Activities>({ startToCloseTimeout: '60s', heartbeatTimeout: '2s', retry });
const quick = proxyActivities<Activities>({ startToCloseTimeout: '20s', retry });

const mostRefusals = 100;

/** A signal may carry anything. @throws ApplicationFailure for what is no decision */
function wellFormed(decision: unknown): void {
  const fields = typeof decision === 'object' && decision !== null ? (decision as Record<string, unknown>) : {};
  const texts = ['digest', 'decision', 'principal', 'reason', 'signature'].map((name) => fields[name]);
  const plain = [...texts, fields['via'] ?? ''].every((text) => typeof text === 'string' && text.length <= 2000);
  if (!plain || !['approve', 'reject'].includes(String(fields['decision'])))
    throw ApplicationFailure.nonRetryable('that is no decision', 'Refused');
}

type Ended = Omit<RemediateResult, 'report' | 'decisions' | 'changes' | 'signed' | 'judged'>;

/** Plan, approval, then one change after another; the first that does not help is reverted and stops the rest. */
export async function remediate(input: RemediateInput): Promise<RemediateResult> {
  const { workflowId } = workflowInfo();
  const progress: RemediateProgress = { phase: 'planning', decisions: [], changes: [] };
  const counted: Decision[] = [];
  let policy: ApprovalPolicy | undefined;
  setHandler(remediateProgress, () => progress);

  const validate = (decision: Decision): void => {
    const why = policy ? refusal(policy, progress.decisions, decision, Date.now()) : 'there is no plan yet';
    if (why !== undefined) throw ApplicationFailure.nonRetryable(why, 'Refused');
  };
  const record = async (decision: Decision): Promise<RecordedDecision> => {
    const recorded: RecordedDecision = { decision: 'reject', principal: '', reason: '', at: Date.now() };
    try {
      wellFormed(decision);
      Object.assign(recorded, {
        decision: decision.decision,
        principal: decision.principal,
        reason: decision.reason,
        ...(decision.via !== undefined && { via: decision.via }),
      });
      validate(decision);
      await quick.authenticate(workflowId, decision);
      // Another decision may have come in while the signature was checked.
      validate(decision);
      counted.push(decision);
    } catch (error) {
      recorded.refused = messageOf(error);
    }
    // Refusals are kept as a trail, but not without end: anybody who can signal can send them.
    const refusals = progress.decisions.filter(({ refused }) => refused !== undefined).length;
    if (recorded.refused === undefined || refusals < mostRefusals) progress.decisions.push(recorded);
    return recorded;
  };
  setHandler(
    decide,
    async (decision) => {
      const recorded = await record(decision);
      if (recorded.refused !== undefined) throw ApplicationFailure.nonRetryable(recorded.refused, 'Refused');
      return recorded;
    },
    { validator: validate, description: 'Approve or reject the plan by its digest' },
  );
  setHandler(decisionSignal, async (decision) => void (await record(decision)));

  const show = (phase: RemediateProgress['phase']): void => {
    progress.phase = phase;
    publish(input.visible, { phase });
    setCurrentDetails(details(progress));
  };
  let ended: Ended;
  try {
    ended = await steps();
  } catch (error) {
    if (!isCancellation(error)) throw error;
    const kept = progress.changes.filter((one) => one.outcome === 'confirmed').map(({ place }) => place);
    const rest = kept.length ? `; confirmed before that, and still changed: ${kept.join(', ')}` : '';
    ended = {
      outcome: kept.length ? 'partly' : 'cancelled',
      says: `it was cancelled before anything else was changed${rest}`,
    };
  }
  // Also when it was cancelled: the report says what was done and put back.
  return CancellationScope.nonCancellable(async () => {
    delete progress.changing;
    await condition(allHandlersFinished);
    const { signed, judged, decisions, changes } = progress;
    const whole = { ...ended, decisions, changes, ...(signed && { signed }), ...(judged && { judged }) };
    // What was done on the nodes must not be lost because a disk is full.
    const report = await quick.writeRemediation(workflowId, input.diagnosis.run, whole).catch(messageOf);
    show('done');
    const written = report.endsWith('.md');
    return written
      ? { ...whole, report }
      : { ...whole, says: `${whole.says}; the report could not be written (${report})` };
  });

  async function steps(): Promise<Ended> {
    show('planning');
    const planned = await node.plan(input);
    if (!planned.signed || !planned.policy) {
      const { says = 'there is no plan', proposals = [] } = planned;
      // Nobody has to approve what undrop does not do.
      return proposals.length ? { outcome: 'proposed', says, proposals } : { outcome: 'no-remedy', says };
    }
    progress.signed = planned.signed;
    policy = planned.policy;
    const { judged } = planned;
    if (judged) progress.judged = judged;
    if (judged?.approvals === 'refused') return { outcome: 'refused', says: judgementText(judged) };
    const { expiresAt } = policy;
    const standing = judged?.approvals === 'standing';
    if (judged && standing) progress.decisions.push(decisionOf(judged, Date.now()));
    else show('waiting for approval');
    const open = policy;
    const decided =
      standing ||
      (await condition(() => outcome(open, progress.decisions) !== 'open', Math.max(1, expiresAt - Date.now())));
    if (!decided) return { outcome: 'expired', says: 'nobody decided in time, so nothing was changed' };
    if (outcome(open, progress.decisions) === 'rejected') {
      const last = progress.decisions.findLast(
        ({ decision, refused }) => decision === 'reject' && refused === undefined,
      );
      return { outcome: 'rejected', says: `${last?.principal ?? 'somebody'} rejected it: ${last?.reason ?? ''}` };
    }
    show('changing');
    for (const index of planned.signed.plan.changes.keys()) {
      const result = await changeAt(planned.signed, index);
      progress.changes.push(result);
      if (result.outcome !== 'confirmed' && result.outcome !== 'healed') break;
    }
    const cancelled = CancellationScope.current().consideredCancelled;
    return conclusionOf(planned.signed, progress.changes, cancelled);
  }

  async function changeAt(signed: SignedPlan, index: number): Promise<ChangeResult> {
    const { path, evidence } = input.diagnosis;
    const name = signed.plan.changes[index]?.place ?? '';
    const place = path.places.find((one) => one.name === name);
    const id = changeId(input.inventory, place?.node ?? name);
    progress.changing = id;
    try {
      const child = await startChild(change, {
        workflowId: id,
        // It always ends by itself, confirmed or reverted, whatever becomes of us.
        parentClosePolicy: ParentClosePolicy.ABANDON,
        cancellationType: ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
        staticSummary: `${signed.plan.title} at ${name}`,
        args: [{ remediation: workflowId, signed, index, approvals: counted, path, evidence }],
      });
      return await child.result();
    } catch (error) {
      if (isCancellation(error)) throw error;
      const base = { place: name, node: place?.node ?? name, id: '', token: '', proof: [] };
      if (error instanceof Error && error.name === 'WorkflowExecutionAlreadyStartedError')
        return {
          ...base,
          outcome: 'refused',
          says: `another change is in progress on ${base.node}; plan again when it has ended`,
        };
      return {
        ...base,
        outcome: 'unknown',
        says: `${messageOf(error)}; what is not confirmed the node's own timer puts back`,
      };
    }
  }
}

function conclusionOf({ plan }: SignedPlan, changes: ChangeResult[], cancelled: boolean): Ended {
  const last = changes.at(-1);
  const done = changes.map((one) => `${one.place}: ${one.says}`).join('; ');
  const left = plan.changes.length - changes.length;
  const says = left > 0 ? `${done}; ${left} further changes were not started` : done;
  const some = changes.some((one) => one.outcome === 'confirmed');
  switch (last?.outcome) {
    case 'confirmed':
    case 'healed':
      return { outcome: left > 0 ? 'partly' : some ? 'confirmed' : 'healed', says };
    case 'reverted':
    case 'refused':
      // Places that were confirmed before this one stay changed: the whole is not as it was.
      return { outcome: some ? 'partly' : cancelled ? 'cancelled' : last.outcome, says };
    default:
      return { outcome: 'failed', says };
  }
}

function messageOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return cause instanceof Error ? cause.message : String(cause);
}

function details({ phase, signed, judged, decisions, changes }: RemediateProgress): string {
  const plan = signed?.plan.changes.flatMap(({ place, operations }) =>
    operations.map((operation) => `- ${place}: ${described(operation)}`),
  );
  const said = decisions.map(
    (one) => `- ${one.principal}: ${one.decision}${one.refused === undefined ? '' : ` (refused: ${one.refused})`}`,
  );
  const done = changes.map((one) => `- **${one.place}: ${one.outcome}**, ${one.says}`);
  return [
    `**${phase}**`,
    signed ? `\n${signed.plan.title} (plan ${signed.digest.slice(0, 12)})` : '',
    ...(plan ?? []),
    ...(judged ? [`\n${judgementText(judged)}`] : []),
    ...said,
    ...done,
  ].join('\n');
}
