import type { AlertStatus } from '../../domain/alert.ts';
import { type Said, at, ignored, objectAt, quoted, textAt } from './said.ts';

const actions: Record<string, AlertStatus> = {
  create: 'firing', unacknowledge: 'firing', acknowledge: 'acknowledged', close: 'resolved', delete: 'cancelled',
}; // prettier-ignore

/** Outgoing webhooks of Opsgenie, which JSM Operations sends too. A delivery has no id. */
export function opsgenie(body: unknown): Said {
  const alert = at(body, 'alert');
  const action = textAt(body, 'action');
  if (action === undefined || alert === undefined)
    return ignored('no message of Opsgenie: it has no action or no alert');
  const word = action.toLowerCase();
  if (!Object.hasOwn(actions, word)) return ignored(`the action ${quoted(action)} says nothing of an alert's state`);
  const status = actions[word] ?? 'firing';
  return {
    drafts: [
      {
        problem: at(alert, 'alias') || at(alert, 'alertId'),
        status,
        title: at(alert, 'message'),
        severity: at(alert, 'priority'),
        // Milliseconds and nanoseconds; the latter are beyond what a number holds exactly.
        at: word === 'create' ? at(alert, 'createdAt') : (at(alert, 'updatedAt') ?? at(alert, 'createdAt')),
        labels: {
          ...objectAt(alert, 'details'),
          opsgenie_entity: at(alert, 'entity') || undefined,
          opsgenie_integration: at(body, 'integrationName'),
        },
        annotations: { description: at(alert, 'description') },
      },
    ],
  };
}
