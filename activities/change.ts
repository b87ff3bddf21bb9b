import { setTimeout as sleep } from 'node:timers/promises';
import { log } from '@temporalio/activity';
import { digestOf } from '../domain/digest.ts';
import { described, forbidden } from '../domain/operation.ts';
import type { ChangeInput } from '../domain/runs.ts';
import type { Place } from '../domain/target.ts';
import * as guard from '../nodes/operations/guard.ts';
import { located } from '../nodes/shells/locate.ts';
import { type Deps, beating, hopeless, reachOf, unlessStopped } from './deps.ts';
import { requireApproved } from './policy.ts';
import { configured, final, sweep } from './resolve.ts';
import { pathOf, plannedOf } from './site.ts';

/** Arms, applies, confirms and reverts one change by its node's guard. */
export function changeActivities(deps: Deps) {
  const { inventory, runbook, shells, observers } = deps;

  const placeOf = async (input: ChangeInput): Promise<Place> => {
    const { place: name, node, reach } = plannedOf(input);
    // A node is found by itself: the pods of its path may be others by now, and its changes must be undone all the same.
    const place =
      inventory.kubernetes && name === node
        ? await nodeOf(node)
        : (await pathOf(deps, input)).places.find((one) => one.name === name);
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
      const { operations } = plannedOf(input);
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
      const operation = plannedOf(input).operations[index];
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
      // The cluster's API may be slow to answer.
      await beating(async () => {
        observers.close(id);
        await sweep(deps, run);
      });
    },
  };

  /** Tells the cluster what happens on its node. A change never waits for this beyond a moment, and never fails by it. */
  async function noted(input: ChangeInput, reason: string, says: string, holder?: string): Promise<void> {
    const { kubernetes } = inventory;
    if (!kubernetes) return;
    const { node } = plannedOf(input);
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
}
