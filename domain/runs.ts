import type { Decision, RecordedDecision } from './approval.ts';
import type { SignedPlan } from './plan.ts';
import type { Proposal } from './proposal.ts';
import type { Judgement } from './remit.ts';
import type { Path } from './target.ts';
import type { Conclusion } from './verdict.ts';

/** A run's or rollout's name is part of paths, workflow ids and journals. On a shared server anybody may name a workflow anything. */
export const runName = /^[A-Za-z0-9][A-Za-z0-9-]{0,63}$/;

/** `20261124-0912-ab3f01`: sorts by time, and nobody else's. @param chance six hexadecimal digits, or more */
export const runNamed = (at: Date, chance: string): string =>
  `${at.toISOString().slice(0, 16).replaceAll(/[-:]/g, '').replace('T', '-')}-${chance.slice(0, 6)}`;

/** Evidence in the store: the first edge and what each step added, by digest. */
export interface EvidenceRef {
  first: string;
  parts: string[];
}

export interface DiagnoseInput {
  /** Name of the inventory: a node's lock is of this inventory, whatever queue a worker listens on. */
  inventory: string;
  target: string;
  requester: string;
  /** Length of the control window in milliseconds. */
  windowMs: number;
  /** Go on with a plan for what is proved, and wait for approval. */
  propose: boolean;
  /** Whether the server knows undrop's search attributes. */
  visible: boolean;
  /** Send nothing and make nothing: watch the target's own traffic for `windowMs`. */
  passive?: boolean;
}

/** One taken step, as progress and reports show it. */
export interface StepSummary {
  step: string;
  question: string;
  sent: number;
  lost: number;
  ms: number;
  failed?: string;
}

/** What a survey of a Service found on one path: to the endpoint itself, and through the Service's address. */
export interface SurveyRow {
  target: string;
  /** A client there keeps sending to what is no endpoint. */
  stale: boolean;
  sent: number;
  lost: number;
  serviceSent: number;
  serviceLost: number;
  /** Found by its flows, and nothing was sent. */
  passive?: true;
  failed?: string;
}

export interface DiagnoseProgress {
  phase: 'starting' | 'observing' | 'judging' | 'done';
  path?: Path;
  /** Set where the target did not say where it is sent from. */
  survey?: SurveyRow[];
  current?: string;
  steps: StepSummary[];
  conclusion?: string;
}

export interface DiagnoseResult {
  run: string;
  path: Path;
  survey?: SurveyRow[];
  evidence: EvidenceRef;
  runbook: string;
  steps: StepSummary[];
  /** Digest of the whole conclusion in the store. */
  conclusion: string;
  kind: Conclusion['kind'];
  says: string;
  roots: { cause: string; place: string }[];
  report: string;
  remediation?: string;
}

export interface RemediateInput {
  /** Name of the inventory. */
  inventory: string;
  requester: string;
  /** What a plan needs of a diagnosis. */
  diagnosis: Pick<DiagnoseResult, 'run' | 'path' | 'evidence' | 'runbook' | 'conclusion'>;
  /** Try this remedy at this place instead of what the proved cause names. */
  override?: { remedy: string; place: string };
  visible: boolean;
}

/** Judging may ask for this many further steps before a run says what it has. */
export const mostDemanded = 4;

/** One change per node at a time: the id of its workflow is the lock. */
export const changeId = (inventory: string, node: string): string => `change/${inventory}/${node}`;

export interface ChangeInput extends Site {
  /** Workflow id of the remediation or rollout: the signatures below cover it. */
  remediation: string;
  /** The signed decisions; the activity that arms the node checks them again by itself. */
  approvals: Decision[];
  /** Digest of the rollout that was approved, where the plan is one of many. */
  rollout?: string;
  /** Untouched places with the same loss: where it ends at all of them too, the change is not what ended it. */
  controls?: Site[];
}

/** One change of a plan, and the path on which its loss can be measured. */
export interface Site {
  signed: SignedPlan;
  /** Which of the plan's changes. */
  index: number;
  path: Path;
  evidence: EvidenceRef;
}

/** Loss of one step, measured just before a change or after it. */
export interface Measured {
  step: string;
  sent: number;
  lost: number;
  /** What the cause's counter moved meanwhile; undefined where it could not be read or no cause was named. */
  counted?: number;
}

/**
 * `healed`: the loss was gone before anything was done, or ended elsewhere too and was put back. `conflict`: on revert a value was found that somebody else set,
 * and left alone. `stuck`: a value would not go back. `unknown`: the node cannot be reached; its own timer reverts.
 */
export type ChangeOutcome = 'confirmed' | 'reverted' | 'healed' | 'refused' | 'conflict' | 'stuck' | 'unknown';

export interface Verification {
  helped: boolean;
  says: string;
  steps: { step: string; before: Measured; after: Measured }[];
}

export interface ChangeResult {
  place: string;
  node: string;
  outcome: ChangeOutcome;
  says: string;
  /** Name of the node's journal, and the run that may act on it. */
  id: string;
  token: string;
  verification?: Verification;
  /** Values read back after a revert, one line per operation. */
  proof: string[];
}

export interface RemediateProgress {
  phase: 'planning' | 'waiting for approval' | 'changing' | 'done';
  signed?: SignedPlan;
  /** What the inventory's policy said when the plan was made. */
  judged?: Judgement;
  decisions: RecordedDecision[];
  changes: ChangeResult[];
  /** The change workflow in progress. */
  changing?: string;
}

/** What one change is doing right now, one line per stage with its milliseconds since the start. */
export interface ChangeProgress {
  stages: { says: string; at: number }[];
}

export interface RemediateResult {
  outcome:
    | 'no-remedy'
    /** There is nothing for undrop to change, and something for others: see `proposals`. */
    | 'proposed'
    | 'rejected'
    | 'expired'
    | 'refused'
    | 'confirmed'
    | 'healed'
    | 'reverted'
    /** Some places are changed and confirmed, others are not. */
    | 'partly'
    | 'failed'
    | 'cancelled';
  says: string;
  signed?: SignedPlan;
  /** Where there is no plan; those of a plan are in it. */
  proposals?: Proposal[];
  judged?: Judgement;
  decisions: RecordedDecision[];
  changes: ChangeResult[];
  report?: string;
}

/** One line of a survey for people: `pod/shop/web->service/shop/echo@echo-1: 0 of 40 lost, through the Service 21 of 40`. */
export function surveyLine({
  target,
  stale,
  sent,
  lost,
  serviceSent,
  serviceLost,
  passive,
  failed,
}: SurveyRow): string {
  if (passive && failed !== undefined) return `${target}: its flows could not be listed, ${failed}`;
  if (passive) return `${target}: a client by its flows${stale ? ', which keeps sending to what is no endpoint' : ''}`;
  if (failed !== undefined) return `${target}: not sent, ${failed}`;
  const parts = [
    sent ? `${lost} of ${sent} lost` : '',
    serviceSent ? `through the Service ${serviceLost} of ${serviceSent}` : '',
    stale ? 'a client there keeps sending to what is no endpoint' : '',
  ];
  return `${target}: ${parts.filter(Boolean).join(', ') || 'nothing could be sent'}`;
}
