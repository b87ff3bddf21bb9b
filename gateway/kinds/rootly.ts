import type { AlertStatus } from '../../domain/alert.ts';
import { type Said, at, ignored, listAt, quoted, textAt } from './said.ts';

/** Mitigated: people feel it no longer, but its cause is still there to be found. */
const states: Record<string, AlertStatus> = {
  in_triage: 'firing', started: 'firing', acknowledged: 'acknowledged', mitigated: 'acknowledged', resolved: 'resolved', cancelled: 'cancelled',
}; // prettier-ignore
const events: Record<string, AlertStatus> = {
  created: 'firing', mitigated: 'acknowledged', resolved: 'resolved', cancelled: 'cancelled', deleted: 'cancelled',
}; // prettier-ignore

/** Webhooks of Rootly. */
export function rootly(body: unknown): Said {
  const type = textAt(body, 'event', 'type');
  if (type === undefined) return ignored('no message of Rootly: it has no event.type');
  const delivery = at(body, 'event', 'id');
  const data = at(body, 'data');
  const verb = /^incident\.([a-z]+)$/.exec(type)?.[1];
  const state = textAt(data, 'status') ?? '';
  const status =
    type === 'alert.created'
      ? 'firing'
      : verb && Object.hasOwn(events, verb)
        ? events[verb]
        : verb === 'updated' && Object.hasOwn(states, state)
          ? states[state]
          : undefined;
  if (!status) return { delivery, ...ignored(`${quoted(type)} says nothing of an incident's state`) };
  const labels = listAt(data, 'labels').flatMap((label) => {
    const key = textAt(label, 'key');
    return key === undefined ? [] : [[key, at(label, 'value')] as const];
  });
  return {
    delivery,
    drafts: [
      {
        problem: at(data, 'id'),
        status,
        title: at(data, 'title') ?? at(data, 'summary'),
        severity: at(data, 'severity', 'slug') ?? at(data, 'severity', 'name') ?? at(data, 'severity'),
        at: at(body, 'event', 'issued_at'),
        labels: { ...Object.fromEntries(labels), rootly_source: at(data, 'source') },
        annotations: { summary: at(data, 'summary') },
        links: { incident: at(data, 'url') ?? at(data, 'external_url') },
      },
    ],
  };
}
