import {
  ChildWorkflowCancellationType,
  ChildWorkflowFailure,
  ParentClosePolicy,
  executeChild,
  isCancellation,
  patched,
  startChild,
  uuid4,
} from '@temporalio/workflow';
import type { AuditInput, Suspect } from '../domain/audit.ts';
import { endsOf } from '../domain/ends.ts';
import { type DiagnoseInput, runNamed } from '../domain/runs.ts';
import { diagnose } from './diagnose.ts';
import { turnTaker } from './turns.ts';

/** Of an inventory's diagnoses, where nobody has said otherwise before: as many as incidents have at once. */
const atOnce = 2;

/**
 * Has what an audit suspects diagnosed, in turns, and waits for that.
 * @param left is told of the targets that are still waited for
 * @returns workflow ids of the diagnoses that began
 */
export async function lookInto(
  input: AuditInput,
  suspects: readonly Suspect[],
  left: (targets: readonly string[]) => void,
): Promise<string[]> {
  // Audits that came here before their diagnoses took turns go on as they began.
  if (!patched('diagnoses-in-turn')) return Promise.all(suspects.map((suspect) => startAtOnce(input, suspect)));
  const inTurn = turnTaker(input.inventory, atOnce);
  const waiting = new Set(suspects.map(({ target }) => target));
  const begun: string[] = [];
  left([...waiting]);
  await Promise.all(suspects.map(look));
  return begun;

  async function look(suspect: Suspect): Promise<void> {
    const run = runNamed(new Date(), uuid4());
    const options = diagnosisOf(input, suspect, run);
    try {
      await inTurn({ key: run, ends: endsOf(suspect.target) }, async () => {
        begun.push(options.workflowId);
        await executeChild(diagnose, {
          ...options,
          cancellationType: ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
        });
      });
    } catch (error) {
      // A diagnosis tells itself how it ended, and the audit has its result already.
      if (!isCancellation(error) && !(error instanceof ChildWorkflowFailure)) throw error;
    }
    waiting.delete(suspect.target);
    left([...waiting]);
  }
}

async function startAtOnce(input: AuditInput, suspect: Suspect): Promise<string> {
  const child = await startChild(diagnose, diagnosisOf(input, suspect, runNamed(new Date(), uuid4())));
  return child.workflowId;
}

/** Whoever asked for the audit has asked for the plan that comes of it, and may not approve it. */
function diagnosisOf({ inventory, requester, propose, visible }: AuditInput, { target, cause }: Suspect, run: string) {
  const asked: DiagnoseInput = { inventory, target, requester, windowMs: 1500, propose: propose === true, visible };
  return {
    workflowId: `diagnose/${run}`,
    // Whoever ends the audit does not end what is being found out.
    parentClosePolicy: ParentClosePolicy.ABANDON,
    memo: { target },
    staticSummary: `an audit suspects ${cause}: does ${target} lose datagrams?`,
    args: [asked] as [DiagnoseInput],
  };
}
