import {
  CancellationScope,
  allHandlersFinished,
  condition,
  executeChild,
  isCancellation,
  patched,
  proxyActivities,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import type { Activities } from '../activities/index.ts';
import { endsOf } from '../domain/ends.ts';
import {
  type Part,
  type PartDiagnosis,
  type RolloutInput,
  type RolloutProgress,
  type RolloutResult,
  type RolloutRow,
  endOf,
  tally,
} from '../domain/rollout.ts';
import { type ChangeInput, type DiagnoseResult, type Site } from '../domain/runs.ts';
import { Ballot } from './ballot.ts';
import { diagnose } from './diagnose.ts';
import { innermost } from '../domain/errors.ts';
import { rolloutProgress } from './messages.ts';
import { putBack } from './put-back.ts';
import { Board } from './rollout-board.ts';
import { withReport } from './report.ts';
import { changed } from './start-change.ts';
import { turnTaker } from './turns.ts';

const retry = { maximumAttempts: 5, initialInterval: '200ms' } as const;
const node = proxyActivities<Activities>({ startToCloseTimeout: '5m', heartbeatTimeout: '2s', retry });
const quick = proxyActivities<Activities>({ startToCloseTimeout: '20s', retry });

/** So many untouched nodes are looked at, one after another, before a cure is not credited. */
const mostControls = 3;

type Ended = Pick<RolloutResult, 'outcome' | 'says'>;

/** One remedy for many targets: diagnosed, planned and approved together, then carried out in waves, the canary first. */
export async function rollout(input: RolloutInput): Promise<RolloutResult> {
  const { workflowId } = workflowInfo();
  const name = workflowId.replace(/^rollout\//, '');
  const rows = input.targets.map((target): RolloutRow => ({ target, state: 'waiting', says: '', changes: [] }));
  const progress: RolloutProgress = { phase: 'diagnosing', rows, decisions: [] };
  setHandler(rolloutProgress, () => progress);
  const { show, stand, rowOf } = new Board(progress, input.visible);
  const ballot = new Ballot(progress.decisions);
  const found = new Map<string, DiagnoseResult>();
  const inTurn = turnTaker(input.inventory, input.atOnce);

  let ended: Ended;
  try {
    ended = await steps();
  } catch (error) {
    // Cancelled, a diagnosis or change may still fail of something else; what was confirmed must be known all the same.
    if (!isCancellation(error) && !cancelled()) throw error;
    ended = cancelledEnd();
  }
  return CancellationScope.nonCancellable(async () => {
    await condition(allHandlersFinished);
    const { signed, needs, decisions } = progress;
    const whole = { ...ended, rows, decisions, ...(signed && { signed, ...(needs && { needs }) }) };
    const result = await withReport(whole, (all) => quick.writeRollout(name, all));
    show('done', ended.outcome);
    return result;
  });

  async function steps(): Promise<Ended> {
    show('diagnosing');
    await Promise.all(rows.map(examine));
    show('planning');
    const { signed, policy, skipped } = await node.planRollout(
      name,
      input,
      rows.flatMap(({ target }) => partOf(target)),
    );
    for (const { target, why } of skipped) stand(target, 'skipped', why);
    if (!signed || !policy) return { outcome: 'no-remedy', says: 'there is no plan for any of the targets' };
    Object.assign(progress, { signed, needs: policy.needs });
    for (const [at, wave] of signed.rollout.waves.entries())
      for (const { target, node: name_, zone } of wave) Object.assign(rowOf(target), { node: name_, wave: at + 1, state: 'planned', ...(zone && { zone }) }); // prettier-ignore
    ballot.open(policy);
    show('waiting for approval');
    const decided = await ballot.decided();
    if (decided === 'expired') return { outcome: 'expired', says: 'nobody decided in time, so nothing was changed' };
    if (decided === 'rejected') return { outcome: 'rejected', says: ballot.rejection() };
    for (const [at, wave] of signed.rollout.waves.entries()) {
      progress.wave = at + 1;
      show('changing');
      await carryOut(wave, signed.rollout.waves.slice(at + 1).flat());
      // A change that was put back because of it ends without an error.
      if (cancelled()) return cancelledEnd();
      if (tooMany()) break;
    }
    const stopped = tooMany();
    leaveRest();
    // Once begun it is done to its end: a fleet that is half put back would be the worst of all.
    if (stopped)
      await CancellationScope.nonCancellable(async () => {
        show('putting back');
        await putBack(input.inventory, progress, inputOf, stand);
      });
    return endOf(
      rows.filter(({ wave }) => wave !== undefined),
      stopped,
    );
  }

  /** The first diagnosis of a target. One that fails keeps no other from being looked at. */
  async function examine(row: RolloutRow, at: number): Promise<void> {
    const result = await look(row, `${name}-${at + 1}`, 'diagnosing');
    if (typeof result === 'string') return stand(row.target, 'skipped', result);
    if (result.roots.length === 0) return stand(row.target, 'skipped', result.says);
    found.set(row.target, result);
    stand(row.target, 'waiting', result.says);
  }

  /** Diagnoses a target, now or again. @returns why it could not be */
  async function look(row: RolloutRow, run: string, state: RolloutRow['state']): Promise<DiagnoseResult | string> {
    const { inventory, requester, windowMs, visible } = input;
    const { target } = row;
    try {
      return await inTurn({ key: run, ends: endsOf(target) }, async () => {
        stand(target, state, '');
        return executeChild(diagnose, {
          workflowId: `diagnose/${run}`,
          memo: { target },
          staticSummary: `for ${workflowId}`,
          args: [{ inventory, target, requester, windowMs, visible, propose: false }],
        });
      });
    } catch (error) {
      // Somebody may have cancelled this diagnosis alone.
      if (cancelled()) throw error;
      return isCancellation(error) ? 'its diagnosis was cancelled' : innermost(error);
    }
  }

  /** Nodes go one after another until one is cured; those after it together. */
  async function carryOut(wave: readonly Part[], untouched: readonly Part[]): Promise<void> {
    const queue = [...wave];
    const cured = (): boolean => rows.some(({ state }) => state === 'confirmed');
    for (let part; !cured() && !tooMany() && (part = queue.shift()) !== undefined;)
      if (await stillSo(part)) await carry(part, untouched, 0);
    if (tooMany()) return;
    // All are looked at before any is changed: what probes of a change lose would be found in the others' counters.
    const sick = (await Promise.all(queue.map(async (part) => ((await stillSo(part)) ? [part] : [])))).flat();
    const perNode = [...Map.groupBy(sick, (part) => part.node).values()];
    // Nothing of a node that still changes may be missing in the result, whatever becomes of the others.
    const all = await Promise.allSettled(perNode.map(async (parts, at) => {
      for (const part of parts) {
        // Rollouts that had come here before went on with their node.
        if ((tooMany() || cancelled()) && patched('none-after-threshold')) break;
        await carry(part, untouched, at);
      }
    })); // prettier-ignore
    for (const one of all) if (one.status === 'rejected') throw one.reason;
  }

  /** Whether a fresh diagnosis finds on a target what its plan is for. */
  async function stillSo({ target, plan }: Part): Promise<boolean> {
    const again = await look(rowOf(target), `${plan.run}-again`, 'diagnosing again');
    if (typeof again === 'string') stand(target, 'refused', `it could not be diagnosed again: ${again}`);
    else if (again.kind === 'no-loss') stand(target, 'healed', 'its loss is gone by now; nothing was changed');
    else {
      const { roots, says } = again;
      const missing = plan.changes.find(({ cause, place }) => !roots.some((root) => root.cause === cause && root.place === place)); // prettier-ignore
      if (!missing) return true;
      stand(target, 'refused', `diagnosed again it is not ${missing.cause} at ${missing.place}: ${says}`);
    }
    return false;
  }

  async function carry(part: Part, untouched: readonly Part[], at: number): Promise<void> {
    const row = rowOf(part.target);
    stand(part.target, 'changing', '');
    const controls = input.rules.control
      ? [...untouched.slice(at), ...untouched.slice(0, at)].slice(0, mostControls)
      : [];
    for (const index of part.plan.changes.keys()) {
      if (index > 0 && cancelled()) break;
      const result = await changed(input.inventory, inputOf(part, index, controls));
      row.changes.push(result);
      if (result.outcome === 'confirmed') continue;
      if (cancelled() && result.outcome === 'reverted') return stand(part.target, 'undone', result.says);
      const state = result.outcome === 'healed' || result.outcome === 'refused' ? result.outcome : 'failed';
      if (index === 0 || state === 'failed') return stand(part.target, state, result.says);
    }
    const left = part.plan.changes.length - row.changes.length;
    const rest = left > 0 ? [`${left} further changes were not started`] : [];
    stand(part.target, 'confirmed', [...row.changes.map(({ says }) => says), ...rest].join('; '));
  }

  function inputOf(part: Part, index: number, controls: readonly Part[] = []): ChangeInput {
    return {
      ...siteOf(part, index),
      remediation: workflowId,
      approvals: ballot.counted,
      ...(progress.signed && { rollout: progress.signed.digest }),
      ...(controls.length > 0 && { controls: controls.map((one) => siteOf(one, 0)) }),
    };
  }

  function siteOf({ target, plan, digest }: Part, index: number): Site {
    const diagnosis = found.get(target);
    if (!diagnosis) throw new Error(`${target} was not diagnosed`);
    const { path, evidence } = diagnosis;
    return { signed: { plan, digest }, index, path, evidence };
  }

  function partOf(target: string): PartDiagnosis[] {
    const diagnosis = found.get(target);
    if (!diagnosis) return [];
    const { run, path, evidence, runbook, conclusion } = diagnosis;
    return [{ target, run, path, evidence, runbook, conclusion }];
  }

  /** What nobody has begun to change stays as it is. */
  function leaveRest(): void {
    const begun = (row: RolloutRow): boolean => !['waiting', 'diagnosing', 'planned', 'diagnosing again'].includes(row.state); // prettier-ignore
    for (const row of rows) if (!begun(row)) Object.assign(row, { state: 'not started', says: '' });
  }

  function cancelledEnd(): Ended {
    leaveRest();
    return { outcome: 'cancelled', says: `it was cancelled (${tally(rows)}); what was confirmed before stays` };
  }

  function tooMany(): boolean {
    return rows.filter(({ state }) => state === 'failed').length > input.rules.maxFailed;
  }
}

const cancelled = (): boolean => CancellationScope.current().consideredCancelled;
