import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Context } from '@temporalio/activity';
import { conclude } from '../domain/conclude.ts';
import { addProbes } from '../domain/probe.ts';
import { diagnosisMarkdown } from '../domain/report.ts';
import type { DiagnoseResult, EvidenceRef, StepSummary } from '../domain/runs.ts';
import { nextDue } from '../domain/steps.ts';
import { type Path, TargetError, resolveTarget } from '../domain/target.ts';
import type { Conclusion } from '../domain/verdict.ts';
import type { Part } from '../nodes/observing/observer.ts';
import { type Deps, beating, hopeless, loadEvidence, plainRun } from './deps.ts';

export interface Observed {
  evidence: EvidenceRef;
  summary?: StepSummary;
  /** The next step of the methodology that is due. */
  next?: string;
}

export interface Judged {
  conclusion: string;
  kind: Conclusion['kind'];
  says: string;
  roots: { cause: string; place: string; says: string }[];
  next?: { step: string; why: string };
}

export function diagnoseActivities({ inventory, runbook, store, runs, observers }: Deps) {
  return {
    /** The places of a target, and the digest of the runbook that will judge it. */
    async resolve(target: string): Promise<{ path: Path; runbook: string }> {
      try {
        return { path: resolveTarget(inventory, target), runbook: runbook.digest };
      } catch (error) {
        if (error instanceof TargetError) throw hopeless(error.message, 'TargetError');
        throw error;
      }
    },

    /** First samples of all places, then a quiet window of `windowMs`. */
    async begin(run: string, path: Path, windowMs: number): Promise<Observed> {
      return beating((signal) =>
        observers.use(run, path, async (observer) => {
          const first = await observer.edge('full', signal);
          if (Object.keys(first.samples).length === 0)
            throw hopeless(
              `no place of ${path.text} can be read: ${Object.values(first.failed).join('; ')}`,
              'Unreachable',
            );
          const part = await observer.control(windowMs, signal);
          const evidence = { first: await store.put(first), parts: [await store.put(part)] };
          const due = nextDue(runbook.methodology, await loadEvidence(store, path, evidence), []);
          return { evidence, ...(due && { next: due.id }) };
        }),
      );
    },

    /** Takes one step; a probe that cannot be sent is reported in the summary and leaves the evidence as it was. */
    async observe(run: string, path: Path, ref: EvidenceRef, step: string, skipped: string[]): Promise<Observed> {
      return beating(async (signal) => {
        const wanted = runbook.methodology.steps.find(({ id }) => id === step);
        if (!wanted) throw hopeless(`the runbook has no step ${step}`, 'RunbookChanged');
        const started = Date.now();
        const base = { step, question: wanted.question };
        let evidence = ref;
        const keep = async (...parts: Part[]): Promise<void> => {
          evidence = {
            ...evidence,
            parts: [...evidence.parts, ...(await Promise.all(parts.map((part) => store.put(part))))],
          };
        };
        // What a failed attempt has sent must not be taken for this step's or the next one's: windows follow each other.
        const between = async (): Promise<void> =>
          keep(await observers.use(run, path, (observer) => observer.between(signal)));
        let summary: StepSummary;
        try {
          if (Context.current().info.attempt > 1) await between();
          const known = await loadEvidence(store, path, evidence);
          const parts = await observers.use(run, path, (observer) => observer.take(wanted, known, signal));
          await keep(...parts);
          const all = addProbes(parts.flatMap(({ probe }) => probe ?? []));
          summary = { ...base, sent: all.sent, lost: all.lost, ms: Date.now() - started };
        } catch (error) {
          signal.throwIfAborted();
          const failed = error instanceof Error ? error.message : String(error);
          await between();
          summary = { ...base, sent: 0, lost: 0, ms: Date.now() - started, failed };
        }
        const failedToo = summary.failed === undefined ? skipped : [...skipped, step];
        const due = nextDue(runbook.methodology, await loadEvidence(store, path, evidence), failedToo);
        return { evidence, summary, ...(due && { next: due.id }) };
      });
    },

    /** Judges all evidence by the pinned runbook. */
    async judge(path: Path, ref: EvidenceRef, pinned: string): Promise<Judged> {
      if (pinned !== runbook.digest)
        throw hopeless('the runbook was changed while this run was in progress; start a new run', 'RunbookChanged');
      const conclusion = conclude(runbook, await loadEvidence(store, path, ref));
      const { kind, says, roots, next } = conclusion;
      return {
        conclusion: await store.put(conclusion),
        kind,
        says,
        roots: roots.map(({ cause, place, says: why }) => ({ cause, place, says: why })),
        ...(next && { next }),
      };
    },

    /** Writes report.md and report.json of a run; returns the folder. */
    async writeDiagnosis(result: Omit<DiagnoseResult, 'report'>): Promise<string> {
      observers.close(result.run);
      const conclusion = await store.get<Conclusion>(result.conclusion);
      const folder = join(runs, plainRun(result.run));
      await mkdir(folder, { recursive: true });
      await writeFile(join(folder, 'report.md'), diagnosisMarkdown(runbook, result, conclusion));
      await writeFile(join(folder, 'report.json'), JSON.stringify({ ...result, conclusion }, null, 2));
      return folder;
    },
  };
}
