import {
  CancellationScope,
  allHandlersFinished,
  condition,
  isCancellation,
  patched,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import type { Activities } from '../activities/index.ts';
import { described } from '../domain/operation.ts';
import type { SignedPlan } from '../domain/plan.ts';
import { decisionOf, judgementText } from '../domain/remit.ts';
import type { ChangeResult, RemediateInput, RemediateProgress, RemediateResult } from '../domain/runs.ts';
import { publish } from './attributes.ts';
import { Ballot } from './ballot.ts';
import { remediateProgress } from './messages.ts';
import { withReport } from './report.ts';
import { changed } from './start-change.ts';

const retry = { maximumAttempts: 5, initialInterval: '200ms' } as const;
const node = proxyActivities<Activities>({ startToCloseTimeout: '60s', heartbeatTimeout: '2s', retry });
const quick = proxyActivities<Activities>({ startToCloseTimeout: '20s', retry });

type Ended = Omit<RemediateResult, 'report' | 'decisions' | 'changes' | 'signed' | 'judged'>;

/** Plan, approval, then one change after another; the first that does not help is reverted and stops the rest. */
export async function remediate(input: RemediateInput): Promise<RemediateResult> {
  const { workflowId } = workflowInfo();
  const progress: RemediateProgress = { phase: 'planning', decisions: [], changes: [] };
  setHandler(remediateProgress, () => progress);
  const ballot = new Ballot(progress.decisions);

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
    const result = await withReport(whole, (all) => quick.writeRemediation(workflowId, input.diagnosis.run, all));
    show('done');
    return result;
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
    ballot.open(planned.policy);
    const { judged } = planned;
    if (judged) progress.judged = judged;
    if (judged?.approvals === 'refused') return { outcome: 'refused', says: judgementText(judged) };
    if (judged?.approvals === 'standing') {
      progress.decisions.push(decisionOf(judged, Date.now()));
      // Runs that began before took decisions in, to no effect, and replay so.
      if (patched('standing plans take no decisions'))
        ballot.close(
          `this plan is automatic, by the standing approval of the policy's rule ${judged.rule ?? ''}, and nobody decides on it; ` +
            `\`undrop cancel ${planned.signed.plan.run}\` puts back what is not confirmed, \`undrop stop\` stops everything`,
        );
    } else {
      show('waiting for approval');
      const decided = await ballot.decided();
      if (decided === 'expired') return { outcome: 'expired', says: 'nobody decided in time, so nothing was changed' };
      if (decided === 'rejected') return { outcome: 'rejected', says: ballot.rejection() };
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
    const what = { remediation: workflowId, signed, index, approvals: ballot.counted, path, evidence };
    return changed(input.inventory, what, (id) => {
      progress.changing = id;
    });
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
