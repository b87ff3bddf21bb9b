import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { WorkflowHandle } from '@temporalio/client';
import { stringify } from 'yaml';
import { newKey, publicLine, sign, sshKey } from '../../activities/signature.ts';
import { followDiagnosis } from '../../cli/diagnosing.ts';
import { newRun, startDiagnosis } from '../../client/start.ts';
import { awaitPlan } from '../../client/plans.ts';
import { startRemediation } from '../../client/start.ts';
import type { Session } from '../../cli/session.ts';
import type { Decision } from '../../domain/approval.ts';
import { type Inventory, taskQueueOf } from '../../domain/inventory.ts';
import type { SignedPlan } from '../../domain/plan.ts';
import type { DiagnoseResult, RemediateInput, RemediateResult } from '../../domain/runs.ts';
import { type Engine, openEngine } from '../../worker/engine.ts';
import { type RunningWorker, startWorker } from '../../worker/worker.ts';
import { processesWith, until } from './until.ts';

/** A person with an ssh key of their own. */
export class Person {
  readonly name: string;
  private readonly key = newKey();

  constructor(name: string) {
    this.name = name;
  }

  get approver(): { name: string; key: string; groups: string[] } {
    return { name: this.name, key: publicLine(sshKey(this.key)), groups: [] };
  }

  /** Signs with this person's key; `more` says otherwise than the truth. */
  decides(workflowId: string, digest: string, more: Partial<Decision> = {}): Decision {
    const truth = { digest, decision: 'approve' as const, principal: this.name, reason: '' };
    return sign(workflowId, { ...truth, ...more }, sshKey(this.key));
  }
}

/** Rules by which these people decide. */
export const approvalBy = (people: readonly Person[], quorum = 1): Inventory['approval'] => ({
  approvers: people.map(({ approver }) => approver),
  quorum,
  needs: {},
  gateways: [],
  expiresMinutes: 60,
});

/** A data folder and a Temporal server of its own, as a user has them, for one test file. */
export class Road {
  readonly data = mkdtempSync(join(tmpdir(), 'undrop-t-data-'));
  readonly warnings: string[] = [];
  private engine_: Engine | undefined;
  private readonly workers: RunningWorker[] = [];

  constructor() {
    process.env['UNDROP_DATA'] = this.data;
  }

  get engine(): Engine {
    if (!this.engine_) throw new Error('the server is not started');
    return this.engine_;
  }

  async open(): Promise<void> {
    this.engine_ = await openEngine(() => {});
  }

  /** A session with a worker in this process, or without one. */
  async session(inventory: Inventory, work = true): Promise<Session> {
    const log = ({ message, meta }: { message: string; meta?: Record<string, unknown> }): void => {
      const { activityType, attempt, workflowId, error } = meta ?? {};
      this.warnings.push([message, activityType, attempt, workflowId, error].map(String).join(' '));
    };
    if (work) this.workers.push(await startWorker(this.engine, inventory, log));
    return { engine: this.engine, inventory, taskQueue: taskQueueOf(inventory), close: async () => {} };
  }

  /** Writes an inventory as a file for commands. */
  file(inventory: Inventory): string {
    const file = join(this.data, 'undrop.yaml');
    writeFileSync(file, stringify(inventory));
    return file;
  }

  /** The keeper's processes: its own and the server's. */
  processes(): number[] {
    return processesWith(this.data);
  }

  serverPid(): number {
    return Number(readFileSync(join(this.data, 'server.pid'), 'utf8'));
  }

  async close(): Promise<void> {
    for (const worker of this.workers) await worker.stop();
    await this.engine_?.close();
    await until('the server has ended with its last client', () => this.processes().length === 0, 15_000);
    rmSync(this.data, { recursive: true });
  }
}

export async function diagnosed(
  session: Session,
  target: string,
  requester = 'alert',
  more: { passive?: boolean; windowMs?: number } = {},
): Promise<DiagnoseResult> {
  const input = { target, requester, windowMs: 1000, propose: false, ...more };
  return followDiagnosis(await startDiagnosis(session, newRun(), input), true);
}

/** A plan that waits for approval. @throws Error when the remediation ended without one */
export async function planned(
  session: Session,
  diagnosis: DiagnoseResult,
  requester = 'alert',
  override?: RemediateInput['override'],
): Promise<{ handle: WorkflowHandle; signed: SignedPlan }> {
  const handle = await startRemediation(session, diagnosis, requester, override);
  const signed = await awaitPlan(handle);
  if (!signed) throw new Error(`there is no plan: ${((await handle.result()) as RemediateResult).says}`);
  return { handle, signed };
}
