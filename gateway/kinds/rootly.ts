import type { AlertStatus } from '../../domain/alert.ts';
import { type Said, at, ignored, listAt, objectAt, quoted, textAt } from './said.ts';

/** Mitigated: people feel it no longer, but its cause is still there to be found. */
const states: Record<string, AlertStatus> = {
  in_triage: 'firing', started: 'firing', detected: 'firing', acknowledged: 'acknowledged', mitigated: 'acknowledged',
  resolved: 'resolved', closed: 'resolved', cancelled: 'cancelled',
}; // prettier-ignore
const events: Record<string, AlertStatus> = {
  created: 'firing', in_triage: 'firing', mitigated: 'acknowledged', resolved: 'resolved', cancelled: 'cancelled', deleted: 'cancelled',
}; // prettier-ignore
const alerts: Record<string, AlertStatus> = { open: 'firing', triggered: 'firing', acknowledged: 'acknowledged', resolved: 'resolved' }; // prettier-ignore

/** Webhooks of Rootly. */
export function rootly(body: unknown): Said {
  const type = textAt(body, 'event', 'type');
  if (type === undefined) return ignored('no message of Rootly: it has no event.type');
  const delivery = at(body, 'event', 'id');
  const data = at(body, 'data');
  const status = statusOf(type, textAt(data, 'status') ?? '');
  if (!status) return { delivery, ...ignored(`${quoted(type)} says nothing of an incident's state`) };
  // An incident's are an object, an alert's a list.
  const labels = listAt(data, 'labels').flatMap((label) => {
    const key = textAt(label, 'key');
    return key === undefined ? [] : [[key, at(label, 'value')] as const];
  });
  const severity = at(data, 'severity', 'data', 'attributes') ?? at(data, 'severity');
  return {
    delivery,
    drafts: [
      {
        problem: at(data, 'id'),
        status,
        title: at(data, 'title') ?? at(data, 'summary'),
        severity: at(severity, 'slug') ?? at(severity, 'name') ?? severity,
        at: at(body, 'event', 'issued_at'),
        labels: { ...objectAt(data, 'labels'), ...Object.fromEntries(labels), rootly_source: at(data, 'source') },
        annotations: { summary: at(data, 'summary') },
        links: { incident: at(data, 'url') ?? at(data, 'external_url') },
      },
    ],
  };
}

function statusOf(type: string, state: string): AlertStatus | undefined {
  if (type === 'alert.created') return 'firing';
  const verb = /^incident\.([a-z_]+)$/.exec(type)?.[1] ?? '';
  const [table, word] = type === 'alert.updated' ? [alerts, state] : verb === 'updated' ? [states, state] : [events, verb]; // prettier-ignore
  return Object.hasOwn(table, word) ? table[word] : undefined;
}
