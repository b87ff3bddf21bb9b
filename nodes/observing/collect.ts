import type { ClusterView } from '../../domain/cluster.ts';
import { conclude } from '../../domain/conclude.ts';
import type { Evidence } from '../../domain/evidence.ts';
import { type ProbeResult, addProbes } from '../../domain/probe-result.ts';
import type { Runbook, Step } from '../../domain/runbook.ts';
import { mostDemanded } from '../../domain/runs.ts';
import { type EvidenceParts, evidenceOf, nextDue } from '../../domain/steps.ts';
import type { Path } from '../../domain/target.ts';
import type { ShellPool } from '../shells/pool.ts';
import { Observer } from './observer.ts';

interface Collecting {
  windowMs: number;
  /** Called after each step, with what was sent and lost, or why it could not be sent. */
  onStep?: (step: Step, result: ProbeResult | { failed: string }) => void;
  /** What the API of a cluster says of the target. */
  view?: ClusterView;
  signal?: AbortSignal;
}

/**
 * Sees a path by the whole methodology in one go, without Temporal: for bundles that are judged elsewhere, and for labs.
 * @throws Error when no place of the path can be read
 */
export async function collect(
  shells: ShellPool,
  path: Path,
  runbook: Runbook,
  { windowMs, onStep, view, signal }: Collecting,
): Promise<EvidenceParts> {
  const mark = Buffer.from(crypto.getRandomValues(new Uint8Array(8))).toString('hex');
  const observer = new Observer(shells, path, mark);
  try {
    const first = await observer.begin(view, signal);
    if (Object.keys(first.samples).length === 0)
      throw new Error(`no place of ${path.text} can be read: ${Object.values(first.failed).join('; ')}`);
    const collected: EvidenceParts = { path, first, parts: [await observer.control(windowMs, signal)] };
    const evidence = (): Evidence => evidenceOf(collected);
    const skipped: string[] = [];
    const take = async (step: Step): Promise<void> => {
      try {
        const parts = await observer.take(step, evidence(), signal);
        collected.parts.push(...parts);
        onStep?.(step, addProbes(parts.flatMap(({ probe }) => probe ?? [])));
      } catch (error) {
        signal?.throwIfAborted();
        skipped.push(step.id);
        onStep?.(step, { failed: error instanceof Error ? error.message : String(error) });
        collected.parts.push(await observer.between(signal));
      }
    };
    for (let step = nextDue(runbook.methodology, evidence(), skipped); step;) {
      await take(step);
      step = nextDue(runbook.methodology, evidence(), skipped);
    }
    for (let demanded = 0; demanded < mostDemanded; demanded++) {
      const { next } = conclude(runbook, evidence());
      const step = runbook.methodology.steps.find(({ id }) => id === next?.step && !skipped.includes(id));
      if (!step) break;
      await take(step);
    }
    return collected;
  } finally {
    observer.close();
  }
}
