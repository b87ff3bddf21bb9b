import { readFile } from 'node:fs/promises';
import type { WorkflowHandle } from '@temporalio/client';
import { z } from 'zod';
import type { AuditInput, AuditProgress, AuditRecord, AuditResult } from '../domain/audit.ts';
import { Audit, type Profile } from '../domain/audit-profile.ts';
import { FileError, parseYaml } from '../domain/yaml.ts';
import { evidenceStore } from '../worker/evidence.ts';
import { millisecondsOf } from './duration.ts';
import { followed } from './following.ts';
import { newRun, taskTimeout } from '../client/start.ts';
import { UserError, exit, progress } from './output.ts';
import type { Session } from './session.ts';

const pollMs = 100;

/** What `audit`, `schedule create` and a list of schedules say of an audit. */
export interface AuditWords {
  only?: string[] | undefined;
  profile?: string | undefined;
  deadline?: string | undefined;
  diagnose?: boolean;
  propose?: boolean;
}

/** @throws UserError for what is no audit */
export async function auditInput(
  { inventory, engine }: Pick<Session, 'inventory' | 'engine'>,
  requester: string,
  { only, profile, deadline, diagnose, propose }: AuditWords,
): Promise<AuditInput> {
  for (const glob of only ?? [])
    if (!/^[A-Za-z0-9.*-]{1,253}$/.test(glob))
      throw new UserError(`"${glob}" is no name of nodes, with * for any text`);
  return {
    inventory: inventory.name,
    requester,
    visible: engine.visible,
    ...(only && { only }),
    ...(deadline !== undefined && { deadlineMs: millisecondsOf('--deadline', deadline, ['500ms', '60s']) }),
    ...(profile !== undefined && { profile: await readProfile(profile) }),
    ...(diagnose && { diagnose: true }),
    ...(propose && { diagnose: true, propose: true }),
  };
}

/** A file with the list that the inventory has at `audit.profile`. */
async function readProfile(file: string): Promise<Profile[]> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new UserError(`${file}: ${error.message}`);
  });
  try {
    return parseYaml(text, file, z.strictObject({ profile: Audit.shape.profile })).profile;
  } catch (error) {
    if (error instanceof FileError) throw new UserError(error.message);
    throw error;
  }
}

/** Starts an audit; it goes on whatever becomes of this command. */
export const startAudit = async (
  { engine, taskQueue, inventory }: Session,
  input: AuditInput,
): Promise<WorkflowHandle> =>
  engine.client.workflow.start('audit', {
    workflowId: `audit/${inventory.name}/${newRun()}`,
    taskQueue,
    args: [input],
    workflowTaskTimeout: taskTimeout,
    staticSummary: `audit of ${inventory.name}`,
  });

/** Shows an audit as it goes, to its end. @throws UserError with the reason when it failed, or was cancelled before it read */
export async function followAudit(handle: WorkflowHandle, quiet: boolean): Promise<AuditResult> {
  const look = async (): Promise<void> => {
    const { phase, done, total, failed, suspected } = await handle.query<AuditProgress>('progress');
    if (!quiet && suspected?.length) return progress(`${phase}: ${suspected.join(', ')}`);
    const bad = failed.length ? `, ${failed.length} could not be read: ${failed.join(', ')}` : '';
    if (!quiet && phase !== 'done') progress(total ? `${phase}: ${done} of ${total} nodes${bad}` : phase);
  };
  return followed<AuditResult>(handle, look, pollMs);
}

/** Every row of an audit; undefined where the worker, and with it the evidence, is on another machine. */
export const recordOf = ({ record }: AuditResult): Promise<AuditRecord | undefined> =>
  evidenceStore()
    .get<AuditRecord>(record)
    .catch(() => undefined);

/** Dangers count most: a node that cannot be read may be in one, a node that is known to be needs somebody now. */
export function exitOf({ counts, unreachable, cancelled }: AuditResult): number {
  if (counts.danger) return exit.loss;
  if (cancelled) return exit.interrupted;
  return unreachable.length ? exit.failed : exit.ok;
}
