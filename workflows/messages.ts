import { defineQuery, defineSignal, defineUpdate } from '@temporalio/workflow';
import type { Asker } from './turns.ts';
import type { Decision, RecordedDecision } from '../domain/approval.ts';
import type { IncidentProgress, News } from '../domain/incident.ts';
import type { AuditProgress } from '../domain/audit.ts';
import type { RolloutProgress } from '../domain/rollout.ts';
import type { ChangeProgress, DiagnoseProgress, RemediateProgress } from '../domain/runs.ts';

export const diagnoseProgress = defineQuery<DiagnoseProgress>('progress');
export const remediateProgress = defineQuery<RemediateProgress>('progress');
export const auditProgress = defineQuery<AuditProgress>('progress');
export const rolloutProgress = defineQuery<RolloutProgress>('progress');
export const changeProgress = defineQuery<ChangeProgress>('progress');

/** Decides on a plan and says at once whether it counts, and why not. */
export const decide = defineUpdate<RecordedDecision, [Decision]>('decide');
/** The same for callers that can only signal: a refusal is recorded and shows in the progress. */
export const decision = defineSignal<[Decision]>('decision');

/** Incident tooling says something of an incident's target; a copy of the same delivery has no effect. */
export const reportSignal = defineSignal<[News[]]>('report');
export const incidentProgress = defineQuery<IncidentProgress>('progress');

/** Somebody asks for a turn to diagnose, and gives it back. */
export const ask = defineSignal<[Asker]>('ask');
export const giveBack = defineSignal<[Asker]>('giveBack');
/** It is their turn; carries which of theirs. */
export const turn = defineSignal<[string]>('turn');

/** Lets things go on after a stop; carries who says so. */
export const resume = defineSignal<[string]>('resume');
