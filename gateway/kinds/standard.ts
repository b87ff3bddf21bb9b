import { enveloped } from './envelope.ts';
import { type Mapping, mapped } from './mapping.ts';
import { type Said, at, ignored, textAt } from './said.ts';

/** The envelope of Standard Webhooks: type, timestamp, data. The delivery's id is the signed header `webhook-id`. */
export function standard(body: unknown, _headers: unknown, mapping?: Mapping): Said {
  if (mapping) return mapped(mapping, body);
  const type = textAt(body, 'type');
  if (type === undefined) return ignored('no Standard Webhooks envelope: it has no type');
  return enveloped({ type, time: at(body, 'timestamp'), data: at(body, 'data') });
}
