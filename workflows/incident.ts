import {
  CancellationScope,
  ChildWorkflowCancellationType,
  ParentClosePolicy,
  condition,
  continueAsNew,
  executeChild,
  isCancellation,
  patched,
  proxyActivities,
  setCurrentDetails,
  setHandler,
  uuid4,
  workflowInfo,
} from '@temporalio/workflow';
import type { Activities } from '../activities/index.ts';
import { endsOf } from '../domain/ends.ts';
import {
  type IncidentInput,
  type IncidentProgress,
  type IncidentRun,
  dueAt,
  open,
  overAt,
  reported,
  retryMs,
  seenBefore,
} from '../domain/incident.ts';
import { runNamed } from '../domain/runs.ts';
import { diagnose } from './diagnose.ts';
import { innermost } from '../domain/errors.ts';
import { incidentProgress, reportSignal } from './messages.ts';
import { turnTaker } from './turns.ts';

const quick = proxyActivities<Activities>({ startToCloseTimeout: '20s' });

/** Runs that a long incident remembers. */
const mostRuns = 50;
/** A long incident is continued in a new history from this length on. */
const longest = 2000;

/**
 * All that incident tooling reports of one target, until it is over. However often it is told, it diagnoses once, and again
 * only for what is reported long after that, or where it failed.
 */
export async function incident(input: IncidentInput): Promise<IncidentProgress> {
  const { problems = [], runs = [], seen: known = {} } = input.carried ?? {};
  const progress: IncidentProgress = { phase: 'open', target: input.target, problems, runs };
  setHandler(incidentProgress, () => progress);
  /** Until then it is not asked again whether a plan is open. */
  let heldUntil = 0;
  const inTurn = turnTaker(input.inventory, input.atOnce);
  setHandler(reportSignal, (all) => {
    const now = Date.now();
    for (const { origin, reports: each } of all.filter(({ origin: one }) => !seenBefore(known, one, now)))
      for (const report of each) reported(problems, report, origin.received, now);
  });
  const show = (phase: IncidentProgress['phase']): void => {
    progress.phase = phase;
    setCurrentDetails(details(progress));
  };
  // The report that comes with the start is handed in only after this function has begun.
  await condition(() => problems.length > 0, '1m');
  for (;;) {
    if ((next() ?? Infinity) <= Date.now() && !(await stillStopped()) && !(await planOpen())) await look();
    show(problems.some(open) ? 'open' : 'resolved');
    if (workflowInfo().historyLength > longest || workflowInfo().continueAsNewSuggested)
      return continueAsNew<typeof incident>({
        ...input,
        carried: { problems, runs: runs.slice(-mostRuns), seen: known },
      });
    const seen = reports();
    const left = overAt(problems) - Date.now();
    if (left <= 0) break;
    const pause = Math.max(1, (next() ?? Infinity) - Date.now());
    await condition(() => reports() !== seen, Math.min(left, pause));
  }
  show('closed');
  return progress;

  /** How many reports came so far. */
  function reports(): number {
    return problems.reduce((sum, { times }) => sum + times, 0);
  }

  /** When the next diagnosis is due. */
  function next(): number | undefined {
    const again = runs.at(-1)?.failed !== undefined && triesAgain();
    const due = dueAt(problems, runs, again ? (input.retryMs ?? retryMs) : []);
    return due === undefined ? undefined : Math.max(due, heldUntil);
  }

  /** Whether what refused the last diagnosis still stands. Asked instead of tried, or each minute of a stop would leave a run. */
  async function stillStopped(): Promise<boolean> {
    const last = runs.at(-1);
    if (!last?.stopped || !(await quick.isStopped())) return false;
    last.ended = Date.now();
    return true;
  }

  /** Whether a plan of it waits for people or is carried out: a second one beside it would only be more to read. */
  async function planOpen(): Promise<boolean> {
    const plan = runs.findLast(({ remediation }) => remediation !== undefined)?.remediation;
    // Incidents that had begun before made a plan with each diagnosis.
    if (plan === undefined || !patched('one-plan-at-a-time') || !(await quick.isOpen(plan))) return false;
    const [, pause = 300_000] = input.retryMs ?? retryMs;
    heldUntil = Date.now() + pause;
    return true;
  }

  async function look(): Promise<void> {
    const run: IncidentRun = { run: runNamed(new Date(), uuid4()), started: Date.now() };
    runs.push(run);
    show('waiting for its turn');
    try {
      await inTurn({ key: run.run, ends: endsOf(input.target) }, async () => {
        show('diagnosing');
        const { inventory, target, requester, windowMs, propose, visible } = input;
        const { kind, says, remediation } = await executeChild(diagnose, {
          workflowId: `diagnose/${run.run}`,
          memo: { target },
          // Whoever ends the incident does not end what is being found out.
          parentClosePolicy: ParentClosePolicy.ABANDON,
          cancellationType: ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
          staticSummary: `why does ${target} lose datagrams?`,
          args: [{ inventory, target, requester, windowMs, propose, visible }],
        });
        Object.assign(run, { kind, says, ...(remediation !== undefined && { remediation }) });
      });
    } catch (error) {
      const cancelled = isCancellation(error);
      if (cancelled && CancellationScope.current().consideredCancelled) throw error;
      if (triesAgain() && (await quick.isStopped())) run.stopped = true;
      const why = cancelled ? 'it was cancelled' : innermost(error);
      // Who cancels a diagnosis does not want it back in a minute.
      if (cancelled && !run.stopped) run.says = why;
      else run.failed = why;
    } finally {
      run.ended = Date.now();
    }
  }
}

/** Incidents that had failed before undrop tried again waited for the next report, and replay so. */
const triesAgain = (): boolean => patched('failed diagnoses are tried again');

function details({ phase, target, problems, runs }: IncidentProgress): string {
  return [
    `**${target}**: ${phase}`,
    '',
    ...problems.slice(0, 20).map((one) => `- ${one.status}, ${one.source}, ${one.times} times: ${one.title}`),
    ...runs.map((one) => `- run ${one.run}: ${one.says ?? one.failed ?? 'in progress'}`),
  ].join('\n');
}
