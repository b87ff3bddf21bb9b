import type { AlertStatus } from '../../domain/alert.ts';
import { type Said, at, ignored, listAt, quoted, textAt } from './said.ts';

/** Categories of incident.io's statuses; the statuses themselves each team names as it likes. */
const categories: Record<string, AlertStatus> = {
  triage: 'firing', live: 'firing', paused: 'firing', learning: 'resolved', closed: 'resolved',
  declined: 'cancelled', merged: 'cancelled', canceled: 'cancelled', cancelled: 'cancelled',
}; // prettier-ignore

/** Webhooks of incident.io, delivered by Svix: the delivery's id is the signed header `webhook-id`. */
export function incidentio(body: unknown): Said {
  const type = textAt(body, 'event_type');
  if (type === undefined) return ignored('no message of incident.io: it has no event_type');
  const event = at(body, type);
  if (/^public_alert\.alert_(created|resolved)_v\d+$/.test(type)) return alert(event, type.includes('resolved'));
  if (!/^public_incident\.incident_(created|updated|status_updated)_v\d+$/.test(type))
    return ignored(`${quoted(type)} says nothing that could be mapped; of private incidents only an id is sent`);
  const incident = at(event, 'incident') ?? event;
  const category = textAt(event, 'new_status', 'category') ?? textAt(incident, 'incident_status', 'category') ?? '';
  const status = Object.hasOwn(categories, category) ? categories[category] : undefined;
  if (!status) return ignored(`the status category ${quoted(category)} is not known`);
  const fields = listAt(incident, 'custom_field_entries').flatMap((entry) => {
    const name = textAt(entry, 'custom_field', 'name');
    const [value] = listAt(entry, 'values');
    const said = at(value, 'value_text') ?? at(value, 'value_option', 'value') ?? at(value, 'value_catalog_entry', 'name') ?? at(value, 'value_link') ?? at(value, 'value_numeric'); // prettier-ignore
    return name === undefined ? [] : [[name, said] as const];
  });
  return {
    drafts: [
      {
        problem: at(incident, 'id'),
        status,
        title: at(incident, 'name'),
        severity: at(incident, 'severity', 'name'),
        at: status === 'firing' ? at(incident, 'created_at') : at(incident, 'updated_at'),
        labels: { ...Object.fromEntries(fields), incidentio_reference: at(incident, 'reference') },
        annotations: { summary: at(incident, 'summary') },
        links: { incident: at(incident, 'permalink') },
      },
    ],
  };
}

function alert(event: unknown, resolved: boolean): Said {
  // A label is the literal, or the name of what it refers to.
  const attributes = listAt(event, 'attributes').flatMap((entry) => {
    const name = textAt(entry, 'attribute', 'name');
    const value = at(entry, 'value') ?? listAt(entry, 'array_value')[0];
    return name === undefined ? [] : [[name, at(value, 'literal') ?? at(value, 'label')] as const];
  });
  return {
    drafts: [
      {
        problem: at(event, 'deduplication_key') ?? at(event, 'id'),
        status: resolved ? 'resolved' : 'firing',
        title: at(event, 'title'),
        at: resolved ? (at(event, 'resolved_at') ?? at(event, 'updated_at')) : at(event, 'created_at'),
        labels: Object.fromEntries(attributes),
        annotations: { description: at(event, 'description') },
        links: { generator: at(event, 'source_url') },
      },
    ],
  };
}
