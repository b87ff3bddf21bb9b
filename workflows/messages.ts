import { defineQuery, defineSignal, defineUpdate } from '@temporalio/workflow';
import type { Decision, RecordedDecision } from '../domain/approval.ts';
import type { AuditProgress } from '../domain/audit.ts';
import type { ChangeProgress, DiagnoseProgress, RemediateProgress } from '../domain/runs.ts';

export const diagnoseProgress = defineQuery<DiagnoseProgress>('progress');
export const remediateProgress = defineQuery<RemediateProgress>('progress');
export const auditProgress = defineQuery<AuditProgress>('progress');
export const changeProgress = defineQuery<ChangeProgress>('progress');

/** Decides on a plan and says at once whether it counts, and why not. */
export const decide = defineUpdate<RecordedDecision, [Decision]>('decide');
/** The same for callers that can only signal: a refusal is recorded and shows in the progress. */
export const decision = defineSignal<[Decision]>('decision');
