import { randomUUID } from 'node:crypto';
import { diagnosisOf, remediationOf } from '../client/runs.ts';
import { progressOf } from '../client/plans.ts';
import type { RecordedDecision } from '../domain/approval.ts';
import { isGone } from '../domain/errors.ts';
import type { IncidentProgress } from '../domain/incident.ts';
import type { SignedPlan } from '../domain/plan.ts';
import type { Judgement } from '../domain/remit.ts';
import { type ChangeProgress, type DiagnoseProgress, type StepSummary, runName } from '../domain/runs.ts';
import { type Sections, sectionsOf } from '../domain/sections.ts';
import type { Conclusion } from '../domain/verdict.ts';
import type { Gateway } from './gateway.ts';
import { type Asked, type Decidable, changeLines, decisionLine, shown } from './view.ts';

interface RunPage extends Asked {
  run: string;
  target: string;
  state: string;
  says?: string;
  steps: StepSummary[];
  sums: string[];
  sections: Sections['sections'];
  next?: string;
  /** Why there is no plan, where one was asked for. */
  remediation?: string;
}

/** All that there is to see of a run; undefined where there is none of this inventory. */
export async function runPage(gateway: Gateway, run: string): Promise<RunPage | undefined> {
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
    sums: [],
    sections: [],
    moving: false,
  };
  if (described.status.name === 'RUNNING') {
    const progress = await handle.query<DiagnoseProgress>('progress').catch(() => undefined);
    const state = progress?.current ?? progress?.phase ?? 'no worker answers';
    return { ...base, state, steps: progress?.steps ?? [], moving: true };
  }
  if (described.status.name !== 'COMPLETED') {
    const why = await diagnosisOf(gateway, run).then(() => undefined, String);
    return { ...base, ...(why !== undefined && { says: why }) };
  }
  const done = await diagnosisOf(gateway, run);
  const sections = await sectionsFor(gateway, done.conclusion);
  const plan = await planPage(gateway, run);
  return {
    ...base,
    state: done.path.text,
    says: done.says,
    steps: done.steps,
    ...sections,
    ...(typeof plan === 'string' ? { remediation: plan } : plan && { plan }),
    moving: typeof plan === 'object' && plan.outcome === undefined && !plan.waits,
  };
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

async function planPage(gateway: Gateway, run: string): Promise<Decidable | string | undefined> {
  const known = await remediationOf(gateway, run);
  if (!known) return undefined;
  const { engine, inventory } = gateway;
  if (known.result) {
    const { signed, decisions, changes, outcome, says, judged } = known.result;
    if (!signed) return says;
    return {
      ...planned(signed, decisions, judged),
      stages: changes.flatMap(changeLines),
      waits: false,
      outcome,
      ended: says,
      good: outcome === 'confirmed' || outcome === 'healed',
    };
  }
  const progress = await progressOf(engine.client.workflow.getHandle(`remediate/${run}`));
  if (!progress.signed) return 'a plan is being made';
  const { changing } = progress;
  const stages = changing === undefined ? [] : await engine.client.workflow.getHandle(changing).query<ChangeProgress>('progress').then(({ stages: all }) => all.map(({ says }) => says), () => []); // prettier-ignore
  return {
    ...planned(progress.signed, progress.decisions, progress.judged),
    stages: [...progress.changes.flatMap(changeLines), ...stages],
    waits: progress.phase === 'waiting for approval',
  };

  function planned(signed: SignedPlan, recorded: RecordedDecision[], judged: Judgement | undefined) {
    return { ...shown(signed, inventory, judged?.people), recorded, decisions: recorded.map(decisionLine) };
  }
}

/** Incidents that are open, the newest first. */
export async function incidentsOf({ engine, taskQueue }: Gateway) {
  const query = `WorkflowType = "incident" AND TaskQueue = "${taskQueue}" AND ExecutionStatus = "Running"`;
  const found: { target: string; phase: string; problems: string[]; runs: { run: string; says: string }[] }[] = [];
  const most = 50;
  for await (const { workflowId, memo } of engine.client.workflow.list({ query })) {
    const target = typeof memo?.['target'] === 'string' ? memo['target'] : '';
    const progress = await engine.client.workflow.getHandle(workflowId).query<IncidentProgress>('progress').catch(() => undefined); // prettier-ignore
    found.push({
      target,
      phase: progress?.phase ?? 'no worker answers',
      problems: (progress?.problems ?? []).slice(0, 5).map((one) => `${one.status}: ${one.title} (${one.source}, ${one.times} times)`), // prettier-ignore
      runs: (progress?.runs ?? []).map(({ run, says, failed }) => ({ run, says: says ?? failed ?? 'in progress' })),
    });
    if (found.length >= most) break;
  }
  return found;
}
