import { readJson } from '../json.ts';
import type { Headers } from '../verify.ts';
import { enveloped } from './envelope.ts';
import { type Mapping, mapped } from './mapping.ts';
import { type Said, at, ignored, objectAt, quoted, textAt } from './said.ts';

/** CloudEvents 1.0 over HTTP, binary, structured and in batches. What carries the meaning is the data: see envelope.ts. */
export function cloudevents(body: unknown, headers: Headers, mapping?: Mapping): Said {
  const type = String(headers['content-type'] ?? '').toLowerCase();
  if (type.startsWith('application/cloudevents-batch+json')) {
    if (!Array.isArray(body)) return ignored('a batch that is no list');
    const all = body.map((event) => one(event, mapping));
    const why = all.flatMap((said) => said.ignored ?? []);
    return { drafts: all.flatMap(({ drafts }) => drafts), ...(why.length && { ignored: `${why.length} of ${all.length} events: ${why[0]}` }) }; // prettier-ignore
  }
  return one(type.startsWith('application/cloudevents+json') ? body : binary(body, headers), mapping);
}

/** In the binary mode the attributes are headers, percent-encoded, and the body is the data. */
function binary(data: unknown, headers: Headers): unknown {
  const attribute = (name: string): string | undefined => {
    const text = headers[`ce-${name}`];
    if (typeof text !== 'string') return undefined;
    try {
      return decodeURIComponent(text);
    } catch {
      return text;
    }
  };
  const names = ['specversion', 'id', 'source', 'type', 'subject', 'time'] as const;
  return { ...Object.fromEntries(names.map((name) => [name, attribute(name)])), data };
}

function one(sent: unknown, mapping: Mapping | undefined): Said {
  const event = decoded(sent);
  const version = textAt(event, 'specversion');
  const [id, source, type] = ['id', 'source', 'type'].map((name) => textAt(event, name));
  if (version !== '1.0') return ignored(`no CloudEvent of version 1.0: specversion is ${quoted(version)}`);
  if (!id || !source || !type) return ignored('a CloudEvent without id, source or type');
  // Together they are unique; an event that is sent again has both unchanged.
  const delivery = `${source} ${id}`;
  if (mapping) return { delivery, ...mapped(mapping, event) };
  return { delivery, ...enveloped({ type, subject: at(event, 'subject'), time: at(event, 'time'), data: at(event, 'data') }) }; // prettier-ignore
}

/** A sender that was given its data as bytes writes them as `data_base64`, also where they are JSON: the Go SDK does. */
function decoded(event: unknown): unknown {
  const bytes = textAt(event, 'data_base64');
  return bytes === undefined ? event : { ...objectAt(event), data: readJson(Buffer.from(bytes, 'base64')) };
}
