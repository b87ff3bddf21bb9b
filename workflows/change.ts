import {
  ActivityFailure,
  ApplicationFailure,
  CancellationScope,
  isCancellation,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  sleep,
  workflowInfo,
} from '@temporalio/workflow';
import type { Activities } from '../activities/index.ts';
import { type Operation, described, reversible } from '../domain/operation.ts';
import type { ChangeInput, ChangeOutcome, ChangeProgress, ChangeResult, Verification } from '../domain/runs.ts';
import { significant } from '../domain/statistics.ts';
import { verified } from '../domain/verify.ts';
import { causeOf } from '../domain/errors.ts';
import { lookAtControls } from './controls.ts';
import { changeProgress } from './messages.ts';
import { type Permit, takePermit } from './permits.ts';

const retry = { maximumAttempts: 4, initialInterval: '200ms' } as const;
/** A cancelled activity is awaited: nothing may still probe or apply while values are put back. The SDK's own default is not to. */
const cancellationType = 'WAIT_CANCELLATION_COMPLETED';
const reading = proxyActivities<Activities>({
  startToCloseTimeout: '2m',
  heartbeatTimeout: '2s',
  cancellationType,
  retry,
});
/** Repeating is safe, since the node's journal knows what was done; giving up is safe, since its timer reverts. */
const changing = proxyActivities<Activities>({
  startToCloseTimeout: '20s',
  scheduleToCloseTimeout: '60s',
  heartbeatTimeout: '2s',
  cancellationType,
  retry: { initialInterval: '200ms', maximumInterval: '2s' },
});

/** Time between two looks at a change whose effect is still awaited. */
const lookAgain = '1s';

/** Changes one place of a plan: measure, arm, apply, verify, then confirm, or revert and prove it. */
export async function change(input: ChangeInput): Promise<ChangeResult> {
  const { runId } = workflowInfo();
  const { plan } = input.signed;
  const planned = plan.changes[input.index];
  const place = input.path.places.find(({ name }) => name === planned?.place);
  if (!planned || !place) throw ApplicationFailure.nonRetryable('the plan names no such place');
  // Named after the plan: whoever has its approvals cannot have the node carry it out a second time.
  const held = { id: `${plan.run}-${place.name}-${input.signed.digest.slice(0, 12)}`, token: runId };
  const progress: ChangeProgress = { stages: [] };
  setHandler(changeProgress, () => progress);
  const started = Date.now();
  const stage = (says: string): void => {
    progress.stages.push({ says, at: Date.now() - started });
    setCurrentDetails(progress.stages.map((one) => `- ${(one.at / 1000).toFixed(1)} s: ${one.says}`).join('\n'));
  };
  let ended: ChangeOutcome = 'unknown';
  const end = (outcome: ChangeOutcome, says: string, more: Partial<ChangeResult> = {}): ChangeResult => {
    stage(outcome);
    ended = outcome;
    return { place: place.name, node: place.node, outcome, says, ...held, proof: [], ...more };
  };

  let permit: Permit | undefined;
  let armed = false;
  let confirming = false;
  let verification: Verification | undefined;
  try {
    if (plan.policy?.standing && input.approvals.length === 0) {
      const { rule, standing } = plan.policy;
      const taken = `${standing.atOnce} of at most ${standing.atOnce} automatic changes of the rule ${rule} are in progress`;
      permit = await takePermit(plan, () => stage(`${taken}: waiting for one to end`));
      if (!permit) return end('refused', taken);
    }
    stage('measuring the loss once more, before anything is touched');
    const { steps: before, repeats } = await reading.measure(held.id, input);
    if (!before.some(({ lost }) => significant(lost)))
      return end('healed', 'the loss is gone by itself, so nothing was changed');
    const deadline = await changing.arm(held, input, permit?.id);
    armed = true;
    stage(`before-values stored on ${place.node}, which reverts by itself at ${deadline}`);
    for (let index = 0; index < planned.operations.length;) {
      const last = alike(planned.operations, index);
      const others = await changing.apply(held, input, index, last);
      for (const operation of planned.operations.slice(index, last + 1))
        stage(`${described(operation)}${others.length ? `; with it went: ${others.join(', ')}` : ''}`);
      index = last + 1;
    }
    verification = await verify(before, repeats);
    if (verification.helped && plan.soakSeconds !== undefined) {
      stage(`it helps, ${verification.says}: looked at again after ${plan.soakSeconds} s, and not confirmed before`);
      await sleep(plan.soakSeconds * 1000);
      const { steps: later } = await reading.measure(held.id, input, repeats);
      verification = verified(before, later);
    }
    if (verification.helped && input.controls?.length) {
      const { lose, quiet, away } = await lookAtControls(`${held.id}-control`, input.controls);
      if (!lose && quiet.length > 0) {
        const why = `the loss ended at ${quiet.join(', ')} too, where nothing was changed`;
        stage(`${why}: putting every value back`);
        const undone = await revert(why);
        return undone.outcome === 'reverted' ? end('healed', undone.says, { ...kept(), proof: undone.proof }) : undone;
      }
      if (!lose) {
        const alone = `not compared with an untouched node, since none could be measured (${away.join('; ')})`;
        verification = { ...verification, says: `${verification.says}; ${alone}` };
      }
    }
    if (verification.helped) {
      confirming = true;
      await changing.confirm(held, input);
      return end('confirmed', verification.says, { verification });
    }
    stage(`it did not help, ${verification.says}: putting every value back`);
    return await revert(verification.says);
  } catch (error) {
    const why = isCancellation(error) ? 'it was cancelled' : causeOf(error);
    if (!armed && isRefusal(error)) return end('refused', why);
    // The answer to a confirmation may have been lost: then the node's timer is stopped, and the new values stay.
    if (confirming && (await isConfirmed())) return end('confirmed', verification?.says ?? '', kept());
    // Whether arming took effect may be unknown; reverting a change that was never armed does nothing.
    stage(`${why}: putting every value back`);
    return await revert(why);
  } finally {
    // Probers end with their session anyway, and what has become of the node is not to be lost for this.
    await CancellationScope.nonCancellable(() => reading.release(held.id, plan.run)).catch(() => {});
    await permit?.release(ended);
  }

  /** Looks until the effect shows or its time is over. */
  async function verify(
    before: Verification['steps'][number]['before'][],
    repeats: Record<string, number>,
  ): Promise<Verification> {
    const until = Date.now() + plan.withinSeconds * 1000;
    for (;;) {
      const { steps: after } = await reading.measure(held.id, input, repeats);
      const seen = verified(before, after);
      if (seen.helped || Date.now() >= until) return seen;
      stage(`no effect yet: ${seen.says}`);
      await sleep(lookAgain);
    }
  }

  function kept(): Partial<ChangeResult> {
    return verification ? { verification } : {};
  }

  async function isConfirmed(): Promise<boolean> {
    return CancellationScope.nonCancellable(() => changing.status(held, input)).then(
      (state) => state === 'confirmed',
      () => false,
    );
  }

  async function revert(why: string): Promise<ChangeResult> {
    const more = kept();
    try {
      const { state, proof } = await CancellationScope.nonCancellable(() => changing.revert(held, input));
      if (state === 'conflict')
        return end('conflict', `${why}; somebody else changed a value since, which was left alone`, { proof, ...more });
      if (state === 'stuck') return end('stuck', `${why}; a value would not go back`, { proof, ...more });
      if (state === 'none') return end('refused', why, more);
      const undone = planned?.operations.every(reversible)
        ? 'every value is back and reads as before'
        : 'deleted entries stay deleted, all else is back';
      return end('reverted', `${why}; ${undone}`, { proof, ...more });
    } catch (error) {
      const timer = confirming
        ? 'unless it was confirmed, the node’s own timer does it'
        : 'the node’s own timer does it';
      const says = `${why}; the revert did not get through (${causeOf(error)}), ${timer}`;
      return end('unknown', says, more);
    }
  }
}

/** So many entries are deleted in one round trip: each by itself would outlast the node's timer where many are stale. */
const mostAtOnce = 50;

/** The last of the operations from `index` on that go in one round trip: deletions of entries do, nothing else. */
function alike(operations: readonly Operation[], index: number): number {
  let last = index;
  while (
    last + 1 < operations.length &&
    last + 1 - index < mostAtOnce &&
    operations[index]?.kind === 'conntrack.delete' &&
    operations[last + 1]?.kind === 'conntrack.delete'
  )
    last++;
  return last;
}

const isRefusal = (error: unknown): boolean =>
  error instanceof ActivityFailure && error.cause instanceof ApplicationFailure && error.cause.type === 'Refused';
