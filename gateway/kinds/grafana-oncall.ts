import type { AlertStatus } from '../../domain/alert.ts';
import { type Said, at, ignored, objectAt, quoted, textAt } from './said.ts';

const states: Record<string, AlertStatus> = {
  new: 'firing', firing: 'firing', alerting: 'firing', acknowledged: 'acknowledged', silenced: 'acknowledged', resolved: 'resolved',
}; // prettier-ignore

/** The state after an event, for bodies without one. Templates write them with spaces, underscores or capitals. */
const events: Record<string, AlertStatus> = {
  escalation: 'firing', 'alert group created': 'firing', unresolve: 'firing', unacknowledge: 'firing', unsilence: 'firing',
  acknowledge: 'acknowledged', silence: 'acknowledged', resolve: 'resolved',
}; // prettier-ignore

/** Outgoing webhooks of Grafana OnCall and IRM, with the whole body forwarded. A delivery has no id. */
export function grafanaOnCall(body: unknown): Said {
  const group = objectAt(body, 'alert_group');
  const problem = at(body, 'alert_group_id') ?? group['id'];
  if (problem === undefined) return ignored('no message of Grafana OnCall: it has no alert_group_id');
  const event = (textAt(body, 'event', 'type') ?? '').toLowerCase().replaceAll('_', ' ');
  const status = own(states, textAt(group, 'state') ?? '') ?? own(events, event);
  if (!status) return ignored(`neither the state ${quoted(group['state'])} nor the event ${quoted(event)} is known`);
  const payload = payloadOf(objectAt(body, 'alert_payload'));
  const labels = { ...payload.labels, ...objectAt(group, 'labels') };
  return {
    drafts: [
      {
        problem,
        status,
        title: group['title'],
        severity: labels['severity'],
        at: status === 'firing' ? (group['created_at'] ?? at(body, 'event', 'time')) : at(body, 'event', 'time'),
        labels,
        annotations: payload.annotations,
        links: {
          incident: at(group, 'permalinks', 'web'),
          generator: at(body, 'alert_payload', 'generatorURL'),
          runbook: payload.annotations['runbook_url'],
        },
      },
    ],
  };
}

/**
 * The alert as the integration got it: of most one alert, of Alertmanager and Grafana the whole group. What is common to a
 * group is computed over the alerts that `max_alerts` left, so it is not taken of a truncated one.
 */
function payloadOf(payload: Record<string, unknown>): Record<'labels' | 'annotations', Record<string, unknown>> {
  const whole = !(Number(payload['truncatedAlerts'] ?? 0) > 0);
  return {
    labels: { ...objectAt(payload, 'groupLabels'), ...(whole && objectAt(payload, 'commonLabels')), ...objectAt(payload, 'labels') }, // prettier-ignore
    annotations: { ...(whole && objectAt(payload, 'commonAnnotations')), ...objectAt(payload, 'annotations') },
  };
}

const own = <T>(table: Record<string, T>, key: string): T | undefined =>
  Object.hasOwn(table, key) ? table[key] : undefined;
