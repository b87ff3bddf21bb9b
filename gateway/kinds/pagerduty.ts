import type { AlertStatus } from '../../domain/alert.ts';
import { type Said, at, ignored, quoted, textAt } from './said.ts';

const states: Record<string, AlertStatus> = { triggered: 'firing', acknowledged: 'acknowledged', resolved: 'resolved' };

/** Webhook subscriptions of PagerDuty, version 3: one event a message, at least once, in order for each incident. */
export function pagerduty(body: unknown): Said {
  const event = at(body, 'event');
  const type = textAt(event, 'event_type');
  if (type === undefined) return ignored('no message of PagerDuty: it has no event.event_type');
  const delivery = at(event, 'id');
  if (type === 'pagey.ping') return { delivery, ...ignored('a test of the subscription') };
  const incident = at(event, 'data');
  const status = textAt(incident, 'status') ?? '';
  // Notes, responders and status updates are about an incident too, but say nothing of its state.
  if (at(incident, 'type') !== 'incident' || !Object.hasOwn(states, status))
    return { delivery, ...ignored(`${quoted(type)} says nothing of an incident's state`) };
  return {
    delivery,
    drafts: [
      {
        problem: at(incident, 'id'),
        status: states[status] ?? 'firing',
        title: at(incident, 'title'),
        severity: at(incident, 'priority', 'summary') ?? at(incident, 'urgency'),
        at: at(event, 'occurred_at'),
        // Not `service`: that is a Kubernetes Service wherever an alert has this label.
        labels: {
          pagerduty_service: at(incident, 'service', 'summary'),
          pagerduty_service_id: at(incident, 'service', 'id'),
          pagerduty_urgency: at(incident, 'urgency'),
          pagerduty_incident_key: at(incident, 'incident_key'),
        },
        links: { incident: at(incident, 'html_url') },
      },
    ],
  };
}
