import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ApplicationFailure } from '@temporalio/activity';
import { type ApprovalPolicy, type Need, needed, needsFor, policyFor } from '../domain/approval.ts';
import { digestOf } from '../domain/digest.ts';
import type { SignedPlan } from '../domain/plan.ts';
import type { Part, PartDiagnosis, Rollout, RolloutInput, RolloutResult, SignedRollout, Skipped } from '../domain/rollout.ts'; // prettier-ignore
import { rolloutMarkdown } from '../domain/rollout-report.ts';
import { judgementText } from '../domain/remit.ts';
import { wavesOf } from '../domain/waves.ts';
import { type Deps, beating, plainRun, unlessStopped } from './deps.ts';
import { type Made, makePlan } from './plan.ts';
import { configured } from './resolve.ts';

/** So many plans are made at a time: each reads its node's values. */
const atOnce = 8;
/** What a wave may take beside its soak, at most: for the time until which nodes take changes. */
const waveMs = 15 * 60_000;

export interface PlannedRollout {
  signed?: SignedRollout;
  policy?: ApprovalPolicy;
  skipped: Skipped[];
}

interface Candidate {
  diagnosis: PartDiagnosis;
  signed: SignedPlan;
  needs: readonly Need[];
}

export function rolloutActivities(deps: Deps) {
  const { inventory, shells, store, runs } = deps;
  return {
    /**
     * One plan for each diagnosis, with live before-values, in waves, and the rules by which people decide on all of it.
     * Targets with another remedy than most, and those without any, are left out and say why.
     */
    async planRollout(name: string, input: RolloutInput, diagnoses: PartDiagnosis[]): Promise<PlannedRollout> {
      await unlessStopped(deps);
      return beating(async () => {
        const skipped: Skipped[] = [];
        const candidates: Candidate[] = [];
        for (let at = 0; at < diagnoses.length; at += atOnce)
          for (const one of await Promise.all(diagnoses.slice(at, at + atOnce).map(candidate)))
            if (one) candidates.push(one);
        const usual = [...Map.groupBy(candidates, ({ signed }) => signed.plan.remedy).values()].toSorted((a, b) => b.length - a.length)[0]; // prettier-ignore
        if (!usual?.[0]) return { skipped };
        const {
          signed: { plan: first },
          needs,
        } = usual[0];
        const chosen = usual.filter((one) => digestOf(one.needs) === digestOf(needs));
        for (const { diagnosis, signed: { plan }, needs: others } of candidates)
          if (plan.remedy !== first.remedy) skip(diagnosis, `its remedy is ${plan.remedy}: a rollout of its own`);
          else if (digestOf(others) !== digestOf(needs)) skip(diagnosis, `the policy asks for approvals of ${needed(others)} here: a rollout of its own`); // prettier-ignore
        const waves = wavesOf(await partsOf(chosen), input.rules);
        const expiresAt = Date.now() + inventory.approval.expiresMinutes * 60_000;
        const rollout: Rollout = {
          name,
          inventory: inventory.name,
          requester: input.requester,
          expiresAt,
          endsAt: expiresAt + (chosen.length + waves.length) * (input.rules.soakSeconds * 1000 + waveMs),
          remedy: first.remedy,
          title: first.title,
          risk: first.risk,
          rules: input.rules,
          waves,
          skipped,
        };
        // What nodes are armed by is looked up here by the digest that people signed.
        const digest = await store.put(rollout);
        return { signed: { rollout, digest }, policy: policyFor(inventory.approval, rollout, digest, needs), skipped };

        function skip({ target }: PartDiagnosis, why: string): undefined {
          skipped.push({ target, why });
        }
        async function candidate(diagnosis: PartDiagnosis): Promise<Candidate | undefined> {
          const made = await attempt(diagnosis);
          if (typeof made === 'string') return skip(diagnosis, made);
          const { signed, judged, says } = made;
          if (!signed) return skip(diagnosis, says ?? 'there is no plan');
          if (judged?.approvals === 'refused') return skip(diagnosis, judgementText(judged));
          const own = judged?.people ?? needsFor(inventory.approval, signed.plan.risk);
          return { diagnosis, signed, needs: own };
        }
        async function attempt(diagnosis: PartDiagnosis): Promise<Made | string> {
          try {
            return await makePlan(deps, { diagnosis, requester: input.requester }, input.rules.soakSeconds);
          } catch (error) {
            // One node that refuses keeps no other from being mended; one that does not answer is tried again.
            if (error instanceof ApplicationFailure && error.nonRetryable) return error.message;
            throw error;
          }
        }
      });
    },

    /** Writes rollout.md and .json into the rollout's folder; returns the first's path. */
    async writeRollout(name: string, result: Omit<RolloutResult, 'report'>): Promise<string> {
      const folder = join(runs, plainRun(name));
      await mkdir(folder, { recursive: true });
      await writeFile(join(folder, 'rollout.md'), rolloutMarkdown(name, result));
      await writeFile(join(folder, 'rollout.json'), JSON.stringify(result, null, 2));
      return join(folder, 'rollout.md');
    },
  };

  async function partsOf(chosen: readonly Candidate[]): Promise<Part[]> {
    const zones = await zonesOf();
    return chosen.map(({ diagnosis: { target }, signed }) => {
      const node = signed.plan.changes[0]?.node ?? '';
      return { target, node, zone: zones.get(node) ?? '', ...signed };
    });
  }

  async function zonesOf(): Promise<Map<string, string>> {
    if (!inventory.kubernetes) return new Map(Object.entries(inventory.nodes).map(([name, { zone }]) => [name, zone ?? ''])); // prettier-ignore
    const [{ Reader, readNodes }, { config }] = await Promise.all([import('../cluster/index.ts'), configured(shells)]);
    const label = 'topology.kubernetes.io/zone';
    const nodes = await readNodes(new Reader(config));
    return new Map(nodes.map(({ metadata }) => [metadata?.name ?? '', metadata?.labels?.[label] ?? '']));
  }
}
