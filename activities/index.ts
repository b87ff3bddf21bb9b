import { auditActivities } from './audit.ts';
import { changeActivities } from './change.ts';
import type { Deps } from './deps.ts';
import { diagnoseActivities } from './diagnose.ts';
import { measureActivities } from './measure.ts';
import { remediateActivities } from './remediate.ts';
import { rolloutActivities } from './rollout.ts';

/** All activities over one set of dependencies: thin steps that call nodes/ and return small typed results. */
export function createActivities(deps: Deps) {
  return {
    ...diagnoseActivities(deps),
    ...remediateActivities(deps),
    ...changeActivities(deps),
    ...measureActivities(deps),
    ...auditActivities(deps),
    ...rolloutActivities(deps),
  };
}

export type Activities = ReturnType<typeof createActivities>;
