import { upsertSearchAttributes } from '@temporalio/workflow';

/** Names of undrop's search attributes, all keywords; `worker/` registers them. */
const names = { target: 'UndropTarget', phase: 'UndropPhase', conclusion: 'UndropConclusion' } as const;

/**
 * Makes runs searchable in Temporal. A server that does not know the attributes would fail the workflow task again and
 * again, so they are set only where whoever started the run found them registered (`visible`).
 */
export function publish(visible: boolean, values: Partial<Record<keyof typeof names, string>>): void {
  if (!visible) return;
  upsertSearchAttributes(
    Object.entries(values).map(([key, value]) => ({
      key: { name: names[key as keyof typeof names], type: 'KEYWORD' },
      value,
    })),
  );
}
