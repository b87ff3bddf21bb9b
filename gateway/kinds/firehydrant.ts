import type { AlertStatus } from '../../domain/alert.ts';
import { type Said, at, ignored, objectAt, quoted, textAt } from './said.ts';

/** Mitigated: people feel it no longer, but its cause is still there to be found. */
const milestones: Record<string, AlertStatus> = {
  started: 'firing', detected: 'firing', acknowledged: 'acknowledged', investigating: 'acknowledged', identified: 'acknowledged',
  mitigated: 'acknowledged', resolved: 'resolved', retrospective_started: 'resolved', retrospective_completed: 'resolved',
  postmortem_started: 'resolved', postmortem_completed: 'resolved', closed: 'resolved',
}; // prettier-ignore

/** Webhooks of FireHydrant. A delivery has no id. */
export function firehydrant(body: unknown): Said {
  const operation = textAt(body, 'event', 'operation');
  const resource = at(body, 'event', 'resource_type');
  const incident = at(body, 'data', 'incident');
  if (operation === undefined) return ignored('no message of FireHydrant: it has no event.operation');
  if (resource !== 'incident' || incident === undefined)
    return ignored(`${quoted(resource)} says nothing of an incident's state`);
  const milestone = (textAt(incident, 'current_milestone') ?? textAt(incident, 'milestone') ?? '').toLowerCase();
  const status =
    operation === 'DELETED' || operation === 'ARCHIVED'
      ? 'cancelled'
      : Object.hasOwn(milestones, milestone)
        ? milestones[milestone]
        : operation === 'CREATED'
          ? 'firing'
          : undefined;
  if (!status) return ignored(`the milestone ${quoted(milestone)} is not known`);
  return {
    drafts: [
      {
        problem: at(incident, 'id'),
        status,
        title: at(incident, 'name'),
        severity: at(incident, 'severity', 'slug') ?? at(incident, 'severity'),
        at: status === 'firing' ? at(incident, 'created_at') : undefined,
        labels: objectAt(incident, 'labels'),
        annotations: { summary: at(incident, 'summary') ?? at(incident, 'description') },
        links: { incident: at(incident, 'incident_url') },
      },
    ],
  };
}
