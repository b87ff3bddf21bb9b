import { ChildWorkflowCancellationType, ParentClosePolicy, isCancellation, startChild } from '@temporalio/workflow';
import { type ChangeInput, type ChangeResult, changeId } from '../domain/runs.ts';
import { change } from './change.ts';
import { causeOf, isTaken } from '../domain/errors.ts';

/**
 * Has one change of a plan carried out under its node's lock, and waits for it.
 * @param started is told the id of its workflow
 * @throws only when cancelled: all else is an outcome
 */
export async function changed(
  inventory: string,
  input: ChangeInput,
  started: (workflowId: string) => void = () => {},
): Promise<ChangeResult> {
  const { plan } = input.signed;
  const name = plan.changes[input.index]?.place ?? '';
  const node = input.path.places.find((one) => one.name === name)?.node ?? name;
  const workflowId = changeId(inventory, node);
  started(workflowId);
  try {
    const child = await startChild(change, {
      workflowId,
      // It always ends by itself, confirmed or reverted, whatever becomes of us.
      parentClosePolicy: ParentClosePolicy.ABANDON,
      cancellationType: ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
      staticSummary: `${plan.title} at ${name}`,
      args: [input],
    });
    return await child.result();
  } catch (error) {
    if (isCancellation(error)) throw error;
    const base = { place: name, node, id: '', token: '', proof: [] };
    if (isTaken(error))
      return {
        ...base,
        outcome: 'refused',
        says: `another change is in progress on ${node}; plan again when it has ended`,
      };
    return {
      ...base,
      outcome: 'unknown',
      says: `${causeOf(error)}; what is not confirmed the node's own timer puts back`,
    };
  }
}
