import { setTimeout as sleep } from 'node:timers/promises';
import { ApplicationFailure, log } from '@temporalio/activity';
import { expression } from '../domain/cel.ts';
import { digestOf } from '../domain/digest.ts';
import type { Evidence } from '../domain/evidence.ts';
import { factsAt } from '../domain/facts/facts.ts';
import { described, forbidden } from '../domain/operation.ts';
import type { PlannedChange } from '../domain/plan.ts';
import { type ProbeResult, addProbes } from '../domain/probe-result.ts';
import type { Step } from '../domain/runbook.ts';
import type { ChangeInput, Measured, Site } from '../domain/runs.ts';
import { significant } from '../domain/statistics.ts';
import { evidenceOf, possible } from '../domain/steps.ts';
import type { Path, Place } from '../domain/target.ts';
import * as guard from '../nodes/operations/guard.ts';
import { located } from '../nodes/shells/locate.ts';
import { type Deps, beating, hopeless, loadEvidence, reachOf, unlessStopped } from './deps.ts';
import { requireApproved } from './policy.ts';
import { configured, final, resolved, sweep } from './resolve.ts';

/** So many losses tell a cured step from a lucky one; a step is repeated until it has them, up to `mostRepeats` times. */
const enoughLosses = 10;
const mostRepeats = 5;

export interface Measurement {
  steps: Measured[];
  /** How often each step was taken, so that the second measurement does the same. */
  repeats: Record<string, number>;
}

export function changeActivities(deps: Deps) {
  const { inventory, runbook, shells, store, observers } = deps;

  const planned = ({ signed, index }: Site): PlannedChange => {
    const change = signed.plan.changes[index];
    if (!change) throw hopeless(`the plan has no change ${index}`, 'Refused');
    return change;
  };
  /**
   * The path as this worker's own inventory has it: what a workflow was told of addresses and namespaces is not signed,
   * and the inventory may have been edited since the plan was made.
   */
  const pathOf = async ({ path, signed }: Site): Promise<Path> => {
    try {
      return (await resolved(deps, path.text, signed.plan.run)).path;
    } catch (error) {
      if (error instanceof ApplicationFailure) throw hopeless(error.message, 'Refused');
      throw error;
    }
  };
  const placeOf = async (input: ChangeInput): Promise<Place> => {
    const { place: name, node, reach } = planned(input);
    // A node is found by itself: the pods of its path may be others by now, and its changes must be undone all the same.
    const place =
      inventory.kubernetes && name === node
        ? await nodeOf(node)
        : (await pathOf(input)).places.find((one) => one.name === name);
    if (!place) throw hopeless(`${name} is not on the path`, 'Refused');
    if (input.signed.plan.inventory !== inventory.name)
      throw hopeless(`the plan is of the inventory ${input.signed.plan.inventory}, not ${inventory.name}`, 'Refused');
    if (place.node !== node || reachOf(inventory, place) !== reach)
      throw hopeless(`the inventory reaches ${name} otherwise than when the plan was made`, 'Refused');
    return place;
  };
  const nodeOf = async (name: string): Promise<Place> => {
    const [{ Reader, nodePlace }, { config }] = await Promise.all([import('../cluster/index.ts'), configured(shells)]);
    try {
      return await nodePlace(new Reader(config), name);
    } catch (error) {
      throw final(error, 'Refused');
    }
  };
  /** Runs one call of the node's guard: a refusal is final, an unknown outcome is asked again (the node knows what it did). */
  const guarded = async <T>(input: ChangeInput, call: (site: guard.Site) => Promise<T>): Promise<T> =>
    beating(async () => {
      const place = await placeOf(input);
      try {
        const shell = shells.changing(place.node);
        return await call({ shell, place: await located(shell, place) });
      } catch (error) {
        if (error instanceof guard.Refused) throw hopeless(error.message, 'Refused');
        throw error;
      }
    });

  return {
    /**
     * Sends the plan's lossy steps again, and a small one that must not get worse. Given `repeats`, each step is taken
     * that often; else until enough was lost to tell a cure from luck.
     */
    async measure(id: string, input: Site, repeats?: Record<string, number>): Promise<Measurement> {
      return beating(async (signal) => {
        const path = await pathOf(input);
        return observers.use(id, path, async (observer) => {
          const known = await loadEvidence(store, path, input.evidence);
          const wanted = new Set(['small', ...input.signed.plan.verify.map(({ step }) => step)]);
          const first = await observer.edge('full', signal);
          const parts = [];
          const taken: Record<string, number> = {};
          for (const step of runbook.methodology.steps.filter((one) => wanted.has(one.id) && possible(one, path))) {
            const most = repeats?.[step.id] ?? (significant(lossOf(input, step)) ? mostRepeats : 1);
            let times = 0;
            for (let lost = 0; times < most && (repeats !== undefined || lost < enoughLosses); times++) {
              const added = await observer.take(step, known, signal);
              parts.push(...added);
              lost += addProbes(added.flatMap(({ probe }) => probe ?? [])).lost;
            }
            taken[step.id] = times;
          }
          const evidence = evidenceOf({ path, first, parts });
          const steps = Object.keys(taken).map((step) => measured(evidence, step, planned(input)));
          return { steps, repeats: taken };
        });
      });
    },

    /**
     * Checks the approval once more, by itself: whoever can start workflows still cannot touch a node without valid
     * signatures over exactly this plan, or a standing approval that holds at this moment. Then stores the before-values on
     * the node and starts its timer.
     * @param permit which permit of the rule the change holds, where nobody signed
     * @returns when the node reverts by itself
     */
    async arm(change: guard.Change, input: ChangeInput, permit?: string): Promise<string> {
      await unlessStopped(deps);
      const { plan, digest } = input.signed;
      if (digestOf(plan) !== digest) throw hopeless('the plan is not the one that its digest names', 'Refused');
      if (plan.runbook !== runbook.digest) throw hopeless('the runbook was changed since the plan was made', 'Refused');
      await requireApproved(deps, input, permit);
      const { operations } = planned(input);
      for (const operation of operations) {
        const why = forbidden(operation);
        if (why !== undefined) throw hopeless(why, 'Refused');
      }
      const deadline = await guarded(input, (site) => guard.arm(site, change, plan.revertAfterSeconds, operations));
      const what = operations.map(described).join('; ').slice(0, 600);
      await noted(
        input,
        'ChangeArmed',
        `${plan.remedy} (${change.id}): ${what}; reverts by itself at ${deadline}`,
        change.id,
      );
      return deadline;
    },

    /**
     * Applies one operation, once, or several that are alike.
     * @returns other features that the device changed along with the planned ones
     */
    async apply(change: guard.Change, input: ChangeInput, index: number, last = index): Promise<string[]> {
      const { value } = await guarded(input, (site) => guard.apply(site, change, index, last));
      const operation = planned(input).operations[index];
      if (operation?.kind !== 'offload.set') return [];
      return Object.entries(guard.featuresOf(value)).flatMap(([name, on]) =>
        name in operation.after || operation.before[name] === on ? [] : [`${name} ${on ? 'on' : 'off'}`],
      );
    },

    async confirm(change: guard.Change, input: ChangeInput): Promise<void> {
      await guarded(input, (site) => guard.confirm(site, change));
      await noted(input, 'ChangeConfirmed', `${change.id} helped and stays`);
    },

    /** What the node's journal says of a change: armed, confirmed, reverted, conflict, stuck or none. */
    async status(change: guard.Change, input: ChangeInput): Promise<string> {
      return guarded(input, async (site) => (await guard.status(site, change.id)).state);
    },

    /** @param confirmed also undo a change that was confirmed */
    async revert(change: guard.Change, input: ChangeInput, confirmed = false): Promise<guard.Reverted> {
      const reverted = await guarded(input, (site) => guard.revert(site, change, confirmed));
      const { state, proof } = reverted;
      if (state !== 'none')
        await noted(
          input,
          state === 'reverted' ? 'ChangeReverted' : 'ChangeStuck',
          `${change.id}: ${state}; ${proof.join('; ')}`,
        );
      return reverted;
    },

    /** Ends the probers of a run or change, and removes the pods that were made for it. */
    async release(id: string, run: string): Promise<void> {
      observers.close(id);
      await sweep(deps, run);
    },
  };

  /** Tells the cluster what happens on its node. A change never waits for this beyond a moment, and never fails by it. */
  async function noted(input: ChangeInput, reason: string, says: string, holder?: string): Promise<void> {
    const { kubernetes } = inventory;
    if (!kubernetes) return;
    const { node } = planned(input);
    const tell = async (): Promise<void> => {
      const [{ noteOn }, cluster] = await Promise.all([import('../cluster/index.ts'), shells.cluster()]);
      await noteOn(cluster.config, kubernetes.namespace, {
        node,
        reason,
        says,
        ...(holder !== undefined && { holder }),
      });
    };
    const told = tell().catch((error: unknown) => {
      log.warn('the cluster was not told of a change', { node, reason, error: String(error) });
    });
    // The heartbeat of this activity is over: after two seconds it would be taken for dead.
    await Promise.race([told, sleep(1_000)]);
  }

  function measured(evidence: Evidence, step: string, { cause: id, place: name, way }: PlannedChange): Measured {
    const windows = evidence.windows.filter((window) => window.step === step);
    const probe = addProbes(windows.flatMap((window) => window.probe ?? []));
    const { sent } = probe;
    const lost = silent(step, probe);
    const cause = runbook.causes.find((one) => one.id === id);
    const place = evidence.path.places.find((one) => one.name === name);
    if (!cause || !place) return { step, sent, lost };
    try {
      const counts = windows.map((window) =>
        Number(expression(cause.counts).evaluate(factsAt(evidence, window, place, way ? { way } : {}))),
      );
      return { step, sent, lost, counted: counts.reduce((sum, one) => sum + one, 0) };
    } catch {
      // The counter cannot be read here: the loss itself decides, and the result says nothing of the counter.
      return { step, sent, lost };
    }
  }
}

/**
 * Losses of a step that nobody was told of. On somebody else's flow a refusal is what a client of a Service without
 * endpoints should get; the kernel sends few of them a second (icmp_ratelimit), so one stands for all.
 */
function silent(step: string, { lost, refused }: ProbeResult): number {
  return step === 'flow' && (refused['ECONNREFUSED'] ?? 0) > 0 ? 0 : lost;
}

const lossOf = ({ signed }: Site, { id }: Step): number =>
  signed.plan.verify.find(({ step }) => step === id)?.lost ?? 0;
