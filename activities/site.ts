import { ApplicationFailure } from '@temporalio/activity';
import type { PlannedChange } from '../domain/plan.ts';
import type { Site } from '../domain/runs.ts';
import type { Path } from '../domain/target.ts';
import { type Deps, hopeless } from './deps.ts';
import { resolved } from './resolve.ts';

/** The change that a workflow means. @throws ApplicationFailure where its plan has none of that number */
export function plannedOf({ signed, index }: Site): PlannedChange {
  const change = signed.plan.changes[index];
  if (!change) throw hopeless(`the plan has no change ${index}`, 'Refused');
  return change;
}

/**
 * The path as this worker's own inventory has it: what a workflow was told of addresses and namespaces is not signed,
 * and the inventory may have been edited since the plan was made.
 * @throws ApplicationFailure, not to be retried, where the target is not known or not to be found any more
 */
export async function pathOf(deps: Deps, { path, signed }: Site): Promise<Path> {
  try {
    return (await resolved(deps, path.text, signed.plan.run)).path;
  } catch (error) {
    if (error instanceof ApplicationFailure) throw hopeless(error.message, 'Refused');
    throw error;
  }
}
