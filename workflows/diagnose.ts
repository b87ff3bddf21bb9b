import {
  CancellationScope,
  ParentClosePolicy,
  isCancellation,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  startChild,
  workflowInfo,
} from '@temporalio/workflow';
import type { Activities } from '../activities/index.ts';
import {
  type DiagnoseInput,
  type DiagnoseProgress,
  type DiagnoseResult,
  type EvidenceRef,
  mostDemanded,
} from '../domain/runs.ts';
import { publish } from './attributes.ts';
import { diagnoseProgress } from './messages.ts';
import { remediate } from './remediate.ts';

const retry = { maximumAttempts: 4, initialInterval: '200ms' } as const;
/** Steps talk to nodes: a heartbeat shows a dead worker within seconds; a quiet window of ten minutes still fits. */
const node = proxyActivities<Activities>({
  startToCloseTimeout: '12m',
  heartbeatTimeout: '2s',
  // The run is over only when nothing is sent any more.
  cancellationType: 'WAIT_CANCELLATION_COMPLETED',
  retry,
});
const quick = proxyActivities<Activities>({ startToCloseTimeout: '20s', retry });

/** Finds out whether and why a target loses datagrams: samples and probes in the runbook's order, judges, reports. */
export async function diagnose(input: DiagnoseInput): Promise<DiagnoseResult> {
  const run = workflowInfo().workflowId.replace(/^diagnose\//, '');
  const progress: DiagnoseProgress = { phase: 'starting', steps: [] };
  setHandler(diagnoseProgress, () => progress);
  const show = (phase: DiagnoseProgress['phase'], current?: string): void => {
    progress.phase = phase;
    if (current === undefined) delete progress.current;
    else progress.current = current;
    setCurrentDetails(details(input, progress));
  };
  publish(input.visible, { target: input.target, phase: 'observing' });
  try {
    const { path, runbook, survey } = await (input.passive
      ? node.resolve(run, input.target, true)
      : node.resolve(run, input.target));
    progress.path = path;
    if (survey) progress.survey = survey;
    show('observing', input.passive ? 'passive' : 'control');
    let { evidence, next, summary } = await (input.passive ? node.watch : node.begin)(run, path, input.windowMs);
    if (summary) progress.steps.push(summary);
    const skipped: string[] = [];
    const observe = async (step: string): Promise<string | undefined> => {
      show('observing', step);
      const observed = await node.observe(run, path, evidence, step, skipped);
      evidence = observed.evidence;
      if (observed.summary) progress.steps.push(observed.summary);
      if (observed.summary?.failed !== undefined) skipped.push(step);
      return observed.next;
    };
    while (next !== undefined) next = await observe(next);
    show('judging');
    let judged = await quick.judge(path, evidence, runbook);
    // What must send nothing takes no other step, whatever judging would like to know.
    for (let demanded = 0; !input.passive && judged.next && demanded < mostDemanded; demanded++) {
      if (skipped.includes(judged.next.step)) break;
      await observe(judged.next.step);
      show('judging');
      judged = await quick.judge(path, evidence, runbook);
    }
    progress.conclusion = judged.says;
    const { conclusion, kind, says } = judged;
    const roots = judged.roots.map(({ cause, place }) => ({ cause, place }));
    const found = { run, path, evidence, runbook, steps: progress.steps, conclusion, kind, says, roots };
    const result = { ...found, ...(survey && { survey }) };
    const report = await quick.writeDiagnosis(result);
    publish(input.visible, { phase: 'done', conclusion: roots.map(({ cause }) => cause).join(' ') || kind });
    const remediation =
      input.propose && !input.passive && roots.length > 0
        ? await propose(input, run, path, evidence, runbook, conclusion)
        : undefined;
    show('done');
    return { ...result, report, ...(remediation !== undefined && { remediation }) };
  } catch (error) {
    // Probers end with their session anyway; this only spares the nodes the wait.
    await CancellationScope.nonCancellable(() => quick.release(run, run)).catch(() => {});
    if (isCancellation(error)) publish(input.visible, { phase: 'cancelled' });
    throw error;
  }
}

/** A plan waits for people for hours: it lives on when the diagnosis has ended. */
async function propose(
  input: DiagnoseInput,
  run: string,
  path: DiagnoseResult['path'],
  evidence: EvidenceRef,
  runbook: string,
  conclusion: string,
): Promise<string> {
  const child = await startChild(remediate, {
    workflowId: `remediate/${run}`,
    parentClosePolicy: ParentClosePolicy.ABANDON,
    staticSummary: `plan for ${path.text}`,
    args: [
      {
        inventory: input.inventory,
        requester: input.requester,
        diagnosis: { run, path, evidence, runbook, conclusion },
        visible: input.visible,
      },
    ],
  });
  return child.workflowId;
}

function details({ target }: DiagnoseInput, { phase, current, steps, conclusion }: DiagnoseProgress): string {
  const rows = steps.map((one) => `| ${one.step} | ${one.sent} | ${one.lost} | ${one.failed ?? one.question} |`);
  const table = rows.length ? ['', '| step | sent | lost | question |', '| --- | --: | --: | --- |', ...rows] : [];
  return [`**${target}**: ${current ?? phase}`, ...table, ...(conclusion ? ['', `**${conclusion}**`] : [])].join('\n');
}
