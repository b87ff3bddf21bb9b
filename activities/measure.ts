import { expression } from '../domain/cel.ts';
import type { Evidence } from '../domain/evidence.ts';
import { factsAt } from '../domain/facts/facts.ts';
import type { PlannedChange } from '../domain/plan.ts';
import { type ProbeResult, addProbes } from '../domain/probe-result.ts';
import type { Step } from '../domain/runbook.ts';
import type { Measured, Site } from '../domain/runs.ts';
import { significant } from '../domain/statistics.ts';
import { evidenceOf, possible } from '../domain/steps.ts';
import { type Deps, beating, loadEvidence } from './deps.ts';
import { pathOf, plannedOf } from './site.ts';

/** So many losses tell a cured step from a lucky one; a step is repeated until it has them, up to `mostRepeats` times. */
const enoughLosses = 10;
const mostRepeats = 5;

export interface Measurement {
  steps: Measured[];
  /** How often each step was taken, so that the second measurement does the same. */
  repeats: Record<string, number>;
}

/** Measures the loss that a change is to cure, before and after. */
export function measureActivities(deps: Deps) {
  const { store, runbook, observers } = deps;
  return {
    /**
     * Sends the plan's lossy steps again, and a small one that must not get worse. Given `repeats`, each step is taken
     * that often; else until enough was lost to tell a cure from luck.
     */
    async measure(id: string, input: Site, repeats?: Record<string, number>): Promise<Measurement> {
      return beating(async (signal) => {
        const path = await pathOf(deps, input);
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
          const steps = Object.keys(taken).map((step) => measured(evidence, step, plannedOf(input)));
          return { steps, repeats: taken };
        });
      });
    },
  };

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
