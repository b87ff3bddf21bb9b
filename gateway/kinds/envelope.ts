import { AlertStatus } from '../../domain/alert.ts';
import { type Said, at, ignored, quoted, textAt } from './said.ts';

/** The last word of an event's type, where its data names no status. */
const verbs: Record<string, AlertStatus> = {
  firing: 'firing', triggered: 'firing', created: 'firing', opened: 'firing', reopened: 'firing',
  acknowledged: 'acknowledged', resolved: 'resolved', closed: 'resolved', cancelled: 'cancelled', canceled: 'cancelled', deleted: 'cancelled',
}; // prettier-ignore

export interface Envelope {
  type: string;
  /** Names the problem where the data does not. */
  subject?: unknown;
  time?: unknown;
  data: unknown;
}

/**
 * An event whose data is in undrop's own words: `problem`, `status`, `title`, `severity`, `labels`, `annotations`,
 * `url`. What is named otherwise needs a mapping.
 */
export function enveloped({ type, subject, time, data }: Envelope): Said {
  const said = AlertStatus.safeParse(at(data, 'status'));
  const verb = /[a-z]+$/.exec(type.toLowerCase())?.[0] ?? '';
  const status = said.success ? said.data : Object.hasOwn(verbs, verb) ? verbs[verb] : undefined;
  if (!status) return ignored(`neither data.status nor the type ${quoted(type)} says what state it is`);
  const problem = at(data, 'problem') ?? at(data, 'fingerprint') ?? subject;
  if (problem === undefined) return ignored('it has neither data.problem nor a subject');
  return {
    drafts: [
      {
        problem,
        status,
        title: textAt(data, 'title') ?? type,
        severity: at(data, 'severity'),
        at: time,
        labels: at(data, 'labels'),
        annotations: at(data, 'annotations'),
        links: { incident: at(data, 'url') },
      },
    ],
  };
}
