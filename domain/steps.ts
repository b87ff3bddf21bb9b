import { expression } from './cel.ts';
import type { Edge, Evidence, Window } from './evidence.ts';
import { situationOf } from './facts/facts.ts';
import type { ProbeResult } from './probe-result.ts';
import type { Methodology, Step } from './runbook.ts';
import { type Path, receiverOf } from './target.ts';

/** Routes that need no listener or endpoint at the far end. */
const reach = new Set(['service', 'flow', 'nodeport', 'hostport']);

/** Whether a step can be taken on a path: a Service without endpoints has nobody who listens. */
export function possible({ probe }: Step, path: Path): boolean {
  // A headless Service has no address of its own.
  if (probe.route === 'service' && path.service?.address === '') return false;
  return reach.has(probe.route) || receiverOf(path) !== undefined;
}

/** The next step of the methodology that is worth taking, or undefined when all are taken. */
export function nextDue(methodology: Methodology, evidence: Evidence, skipped: readonly string[]): Step | undefined {
  const taken = new Set([...evidence.windows.map(({ step }) => step), ...skipped]);
  const situation = situationOf(evidence);
  return methodology.steps.find(
    (step) =>
      !step.onDemand &&
      !taken.has(step.id) &&
      possible(step, evidence.path) &&
      (step.when === undefined || expression(step.when, 'step').evaluate(situation) === true),
  );
}

/** Evidence as it is kept: the first edge, then what each step added. Each window begins where the last one ended. */
export interface EvidenceParts {
  path: Path;
  first: Edge;
  parts: { step: string; after: Edge; probe?: ProbeResult; chip?: number }[];
}

export function evidenceOf({ path, first, parts }: EvidenceParts): Evidence {
  let before = first;
  const windows = parts.map(({ step, after, probe, chip }): Window => {
    const window = { step, before, after, ...(probe && { probe }), ...(chip !== undefined && { chip }) };
    before = after;
    return window;
  });
  return { path, windows };
}
