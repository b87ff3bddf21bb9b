import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Context } from '@temporalio/activity';
import { conclude } from '../domain/conclude.ts';
import { passiveStep } from '../domain/evidence.ts';
import { addProbes } from '../domain/probe-result.ts';
import { diagnosisMarkdown } from '../domain/report.ts';
import { parseTarget } from '../domain/cluster-target.ts';
import type { DiagnoseResult, EvidenceRef, StepSummary, SurveyRow } from '../domain/runs.ts';
import { nextDue } from '../domain/steps.ts';
import type { Path } from '../domain/target.ts';
import { type Sections, sectionsOf } from '../domain/sections.ts';
import type { Conclusion } from '../domain/verdict.ts';
import type { Part } from '../nodes/observing/observer.ts';
import { watch } from '../nodes/observing/watch.ts';
import { type Deps, beating, hopeless, loadEvidence, plainRun, unlessStopped } from './deps.ts';
import { final, resolved, sweep } from './resolve.ts';
import { survey, surveyed } from './survey.ts';

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

export function diagnoseActivities(deps: Deps) {
  const { inventory, runbook, store, runs, observers } = deps;
  return {
    /** The places of a target, and the digest of the runbook that will judge it. A Service alone is surveyed first. */
    async resolve(
      run: string,
      target: string,
      passive = false,
    ): Promise<{ path: Path; runbook: string; survey?: SurveyRow[] }> {
      return beating(async (signal) => {
        await unlessStopped(deps);
        const { digest } = runbook;
        const ends = inventory.kubernetes && targetOf(target);
        if (passive && ends && ends.from?.kind === 'own')
          throw hopeless(`${target} needs a pod of undrop's own, and --passive makes none`, 'TargetError');
        if (passive && ends && !ends.from) {
          const found = await surveyed(deps, ends.to);
          return { path: (await resolved(deps, found.target, run)).path, runbook: digest, survey: found.rows };
        }
        if (!ends || ends.from) return { path: (await resolved(deps, target, run)).path, runbook: digest };
        const chosen = await survey(deps, run, ends.to, signal);
        const { path } = await resolved(deps, chosen.target, run);
        return { path, runbook: digest, survey: chosen.rows };
      });
    },

    /** Whether everything is stopped. */
    async isStopped(): Promise<boolean> {
      return (await deps.ledger?.stopped()) !== undefined;
    },

    /** Whether a plan still waits for people, or is carried out. */
    async isOpen(remediation: string): Promise<boolean> {
      return (await deps.ledger?.runs(remediation)) === true;
    },

    /** A conclusion in the words of a page, for whoever cannot read the evidence of this worker's machine. */
    async sections(conclusion: string): Promise<Sections> {
      return sectionsOf(runbook, await store.get<Conclusion>(conclusion));
    },

    /** First samples of all places, then a quiet window of `windowMs`. */
    async begin(run: string, path: Path, windowMs: number): Promise<Observed> {
      return beating((signal) =>
        observers.use(run, path, async (observer) => {
          const view = inventory.kubernetes && (await resolved(deps, path.text, run)).view;
          const first = await observer.begin(view, signal);
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

    /** Everything of a run that sends nothing: samples, and captures of the traffic that is there for `windowMs`. */
    async watch(run: string, path: Path, windowMs: number): Promise<Observed> {
      return beating(async (signal) => {
        const started = Date.now();
        const view = inventory.kubernetes && (await resolved(deps, path.text, run)).view;
        const shells = deps.shells.existing;
        const seen = await watch(shells, path, { windowMs, signal, ...(view && { view }) }).catch((error: unknown) => {
          signal.throwIfAborted();
          throw hopeless(error instanceof Error ? error.message : String(error), 'Unreachable');
        });
        const all = addProbes(seen.parts.flatMap(({ probe }) => probe ?? []));
        const { question } = runbook.methodology.passive;
        const [first, ...parts] = await Promise.all([seen.first, ...seen.parts].map((part) => store.put(part)));
        return {
          evidence: { first: first ?? '', parts },
          summary: {
            step: passiveStep,
            question,
            sent: all.sent,
            lost: all.lost,
            ms: Date.now() - started,
            ...(seen.failed !== undefined && { failed: seen.failed }),
          },
        };
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
      await sweep(deps, result.run);
      const conclusion = await store.get<Conclusion>(result.conclusion);
      const folder = join(runs, plainRun(result.run));
      await mkdir(folder, { recursive: true });
      await writeFile(join(folder, 'report.md'), diagnosisMarkdown(runbook, result, conclusion));
      await writeFile(join(folder, 'report.json'), JSON.stringify({ ...result, conclusion }, null, 2));
      return folder;
    },
  };
}

function targetOf(text: string): ReturnType<typeof parseTarget> {
  try {
    return parseTarget(text);
  } catch (error) {
    throw final(error, 'TargetError');
  }
}
