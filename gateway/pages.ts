import { randomUUID } from 'node:crypto';
import { diagnosisOf, remediationOf } from '../client/runs.ts';
import type { RecordedDecision } from '../domain/approval.ts';
import { innermost, isGone } from '../domain/errors.ts';
import type { IncidentProgress } from '../domain/incident.ts';
import type { SignedPlan } from '../domain/plan.ts';
import type { Judgement } from '../domain/remit.ts';
import {
  type ChangeProgress,
  type DiagnoseProgress,
  type RemediateProgress,
  type StepSummary,
  runName,
} from '../domain/runs.ts';
import { type Sections, sectionsOf } from '../domain/sections.ts';
import type { Conclusion } from '../domain/verdict.ts';
import { progressOfAll, progressWithin } from './asking.ts';
import type { Gateway } from './gateway.ts';
import { type Asked, changeLines, decisionLine, shown } from './view.ts';

interface RunPage extends Asked {
  run: string;
  target: string;
  state: string;
  says?: string;
  steps: StepSummary[];
  /** Digest of what was concluded, once it is. */
  conclusion?: string;
  /** Why there is no plan, where one was asked for. */
  remediation?: string;
}

/** A run with what the evidence says, for which a worker may have to be asked. */
export async function runPage(gateway: Gateway, run: string): Promise<(RunPage & Sections) | undefined> {
  const found = await askedRun(gateway, run);
  if (!found) return undefined;
  const says = found.conclusion === undefined ? undefined : await sectionsFor(gateway, found.conclusion);
  return { ...found, ...(says ?? { sums: [], sections: [], next: '' }) };
}

/** What is known of a run without its evidence, which no decision waits for; undefined where there is none of this inventory. */
export async function askedRun(gateway: Gateway, run: string): Promise<RunPage | undefined> {
  if (!runName.test(run)) return undefined;
  const { engine, taskQueue } = gateway;
  const handle = engine.client.workflow.getHandle(`diagnose/${run}`);
  const described = await handle.describe().catch((error: unknown) => {
    if (isGone(error)) return undefined;
    throw error;
  });
  if (!described || described.taskQueue !== taskQueue) return undefined;
  const target = typeof described.memo?.['target'] === 'string' ? described.memo['target'] : '';
  const base: RunPage = {
    run,
    target,
    path: `/runs/${run}`,
    workflowId: `remediate/${run}`,
    targets: [target],
    state: described.status.name.toLowerCase(),
    steps: [],
    moving: false,
  };
  if (described.status.name === 'RUNNING') {
    const progress = await progressWithin<DiagnoseProgress>(gateway, handle.workflowId);
    const state = progress?.current ?? progress?.phase ?? 'no worker answers';
    return { ...base, targets: seen(progress?.path?.text), state, steps: progress?.steps ?? [], moving: true };
  }
  if (described.status.name !== 'COMPLETED') {
    const why = await diagnosisOf(gateway, run).then(() => undefined, innermost);
    return { ...base, ...(why !== undefined && { says: why }) };
  }
  const done = await diagnosisOf(gateway, run);
  const { about, ...plan } = await planPage(gateway, run);
  return {
    ...base,
    targets: seen(done.path.text, about),
    state: done.path.text,
    says: done.says,
    steps: done.steps,
    conclusion: done.conclusion,
    ...plan,
  };

  /** What was asked for is a note, and a Service's survey chooses a path: who may something may that with all of these. */
  function seen(...paths: (string | undefined)[]): string[] {
    return [...new Set([target, ...paths.filter((path) => path !== undefined)])];
  }
}

/** What the evidence says: from this machine, else by a worker that has it; undefined where none answers in time. */
async function sectionsFor(
  { store, runbook, engine, taskQueue }: Gateway,
  digest: string,
): Promise<Sections | undefined> {
  const own = await store.get<Conclusion>(digest).catch(() => undefined);
  if (own) return sectionsOf(runbook, own);
  const asked = engine.client.workflow.execute('show', {
    workflowId: `show/${digest.slice(0, 12)}-${randomUUID()}`,
    taskQueue,
    args: [digest],
    workflowExecutionTimeout: '6s',
  });
  return (asked as Promise<Sections>).catch(() => undefined);
}

/** @returns also, as `about`, the path that the plan is for */
async function planPage(gateway: Gateway, run: string): Promise<Partial<RunPage> & { about?: string | undefined }> {
  const known = await remediationOf(gateway, run);
  if (!known) return {};
  const { inventory } = gateway;
  if (known.failed !== undefined) return { remediation: `no plan to decide on: ${known.failed}` };
  if (known.result) {
    const { signed, decisions, changes, outcome, says, judged } = known.result;
    if (!signed) return { remediation: says };
    const plan = {
      ...planned(signed, decisions, judged),
      stages: changes.flatMap(changeLines),
      waits: false,
      outcome,
      ended: says,
      good: outcome === 'confirmed' || outcome === 'healed',
    };
    return { plan, about: signed.plan.target };
  }
  const progress = await progressWithin<RemediateProgress>(gateway, `remediate/${run}`);
  if (!progress) return { remediation: 'no worker answers: its plan cannot be looked at now', moving: true };
  if (!progress.signed) return { remediation: 'a plan is being made', moving: true };
  const { changing } = progress;
  const now = changing === undefined ? undefined : await progressWithin<ChangeProgress>(gateway, changing);
  const waits = progress.phase === 'waiting for approval';
  const plan = {
    ...planned(progress.signed, progress.decisions, progress.judged),
    stages: [...progress.changes.flatMap(changeLines), ...(now?.stages ?? []).map(({ says }) => says)],
    waits,
  };
  return { plan, about: progress.signed.plan.target, moving: !waits };

  function planned(signed: SignedPlan, recorded: RecordedDecision[], judged: Judgement | undefined) {
    return { ...shown(signed, inventory, judged?.people), recorded, decisions: recorded.map(decisionLine) };
  }
}

interface Incident {
  target: string;
  phase: string;
  problems: string[];
  runs: { run: string; says: string }[];
}

/** Incidents that are open, the newest first. */
export async function incidentsOf(gateway: Gateway): Promise<Incident[]> {
  const { engine, taskQueue } = gateway;
  const query = `WorkflowType = "incident" AND TaskQueue = "${taskQueue}" AND ExecutionStatus = "Running"`;
  const found: { workflowId: string; target: string }[] = [];
  const most = 50;
  for await (const { workflowId, memo } of engine.client.workflow.list({ query })) {
    found.push({ workflowId, target: typeof memo?.['target'] === 'string' ? memo['target'] : '' });
    if (found.length >= most) break;
  }
  const answers = await progressOfAll<IncidentProgress>(gateway, found);
  return found.map(({ target }, at) => {
    const progress = answers[at];
    return {
      target,
      phase: progress?.phase ?? 'no worker answers',
      problems: (progress?.problems ?? []).slice(0, 5).map((one) => `${one.status}: ${one.title} (${one.source}, ${one.times} times)`), // prettier-ignore
      runs: (progress?.runs ?? []).map(({ run, says, failed }) => ({ run, says: says ?? failed ?? 'in progress' })),
    };
  });
}
