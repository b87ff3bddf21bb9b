import { ApplicationFailure, Context } from '@temporalio/activity';
import { ApplicationFailureCategory } from '@temporalio/common';
import type { Automatic } from '../domain/automatic.ts';
import type { Checks } from '../domain/audit-checks.ts';
import { digestOf } from '../domain/digest.ts';
import type { Evidence } from '../domain/evidence.ts';
import type { Inventory } from '../domain/inventory.ts';
import type { Runbook } from '../domain/runbook.ts';
import { type EvidenceRef, runName } from '../domain/runs.ts';
import { type EvidenceParts, evidenceOf } from '../domain/steps.ts';
import { type Stop, stopLine } from '../domain/stop.ts';
import type { Path, Place } from '../domain/target.ts';
import { Observer } from '../nodes/observing/observer.ts';
import type { ShellPool } from '../nodes/shells/pool.ts';
import type { EvidenceStore } from './store.ts';

/** What activities work with; made once by the worker. */
export interface Deps {
  inventory: Inventory;
  runbook: Runbook;
  /** What audits look at. */
  checks: Checks;
  shells: ShellPool;
  store: EvidenceStore;
  /** Folder for reports, one folder a run. */
  runs: string;
  /** Folder for reports of audits. */
  audits: string;
  observers: Observers;
  /** What was changed automatically; left out: nothing is. */
  ledger?: Ledger;
}

/** What the server knows of automatic changes: their permits. */
export interface Ledger {
  /** Those in progress, and those that ended since then (milliseconds since the epoch); a text says why that is not known. */
  automatic(since: number): Promise<Automatic[] | string>;
  /** Who stopped everything, as long as nobody lets it go on. */
  stopped(): Promise<Stop | undefined>;
  /** Whether a workflow goes on, by its id. */
  runs(workflowId: string): Promise<boolean>;
  /** Whether this run of a change holds the permit, asked of the server's own record and not of an index. */
  holds(permit: string, change: { workflowId: string; runId: string }): Promise<boolean>;
}

/** Nothing begins while everything is stopped. @throws ApplicationFailure that says who stopped it, and what ends that */
export async function unlessStopped({ ledger }: Pick<Deps, 'ledger'>): Promise<void> {
  const stop = await ledger?.stopped();
  if (stop) throw hopeless(stopLine(stop), 'Refused');
}

/** How long probers stay open for the next step of their run. */
const idleMs = 30_000;

/** Observers of runs in progress: their probers stay open from step to step, and close when nobody asks for a while. */
export class Observers {
  private readonly open = new Map<string, { observer: Observer; timer?: NodeJS.Timeout }>();
  private readonly shells: ShellPool;

  constructor(shells: ShellPool) {
    this.shells = shells;
  }

  /** Lends the observer of a run. After a failure its probers are closed: the next attempt starts with fresh ones. */
  async use<T>(run: string, path: Path, work: (observer: Observer) => Promise<T>): Promise<T> {
    const known = this.open.get(run);
    clearTimeout(known?.timer);
    const observer = known?.observer ?? new Observer(this.shells, path, markOf(run));
    this.open.set(run, { observer });
    try {
      const result = await work(observer);
      const timer = setTimeout(() => this.close(run), idleMs);
      timer.unref();
      if (this.open.get(run)?.observer === observer) this.open.set(run, { observer, timer });
      return result;
    } catch (error) {
      observer.close();
      if (this.open.get(run)?.observer === observer) this.open.delete(run);
      throw error;
    }
  }

  close(run: string): void {
    const known = this.open.get(run);
    clearTimeout(known?.timer);
    known?.observer.close();
    this.open.delete(run);
  }

  closeAll(): void {
    for (const run of this.open.keys()) this.close(run);
  }
}

/** Sixteen hex digits that mark one run's datagrams in this worker's life. */
function markOf(run: string): string {
  return digestOf([run, process.pid, Date.now()]).slice(0, 16);
}

/**
 * Runs an activity's work with a heartbeat, so that a dead worker is noticed within seconds and a cancellation reaches
 * the node. Errors of the node stay retryable; only wrong input is not.
 */
export async function beating<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const context = Context.current();
  const beat = setInterval(() => context.heartbeat(), 300);
  try {
    return await work(context.cancellationSignal);
  } catch (error) {
    context.cancellationSignal.throwIfAborted();
    throw error;
  } finally {
    clearInterval(beat);
  }
}

/** For input that no retry can mend: the message goes to the user as it is, and no alarm to whoever runs the worker. */
export const hopeless = (message: string, type: string): ApplicationFailure =>
  ApplicationFailure.create({ message, type, nonRetryable: true, category: ApplicationFailureCategory.BENIGN });

export async function loadEvidence(store: EvidenceStore, path: Path, ref: EvidenceRef): Promise<Evidence> {
  const [first, ...parts] = await Promise.all([ref.first, ...ref.parts].map((digest) => store.get(digest)));
  return evidenceOf({ path, first, parts } as EvidenceParts);
}

/** What an approval is bound to besides names: the shell that reaches the node, and the namespace there. */
export function reachOf(
  { nodes, kubernetes }: Inventory,
  { node, netns, pid, uid }: Pick<Place, 'node' | 'netns' | 'pid' | 'uid'>,
): string {
  if (kubernetes) return digestOf([kubernetes.kubeconfig ?? null, kubernetes.context ?? null, node, uid ?? null]);
  return digestOf([nodes[node]?.shell, netns ?? null, pid ?? null]);
}

/** Runs name folders and workflows: whoever can start workflows must not reach anywhere else by them. */
export function plainRun(run: string): string {
  if (!runName.test(run)) throw hopeless(`"${run}" is no name of a run`, 'Refused');
  return run;
}
