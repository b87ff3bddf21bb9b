import { type Document, LineCounter, type Node, parseDocument } from 'yaml';
import type { z } from 'zod';

/** A file that people wrote is wrong; the message names file, line and field of each fault. */
export class FileError extends Error {}

/**
 * Parses YAML and checks it against a schema.
 * @throws FileError with one line per fault: `undrop.yaml:7 nodes.h1.address: Invalid input`
 */
export function parseYaml<T>(text: string, file: string, schema: z.ZodType<T>): T {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const fault = document.errors[0];
  if (fault) throw new FileError(`${file}:${lines.linePos(fault.pos[0]).line} ${fault.message}`);
  const checked = schema.safeParse(plain(document, file));
  if (checked.success) return checked.data;
  const faults = checked.error.issues.map((issue) => {
    const path = [...issue.path, ...(issue.code === 'unrecognized_keys' ? issue.keys.slice(0, 1) : [])];
    // The nearest node that is there: a missing field is reported where it should stand.
    let node: unknown;
    for (let length = path.length; node === undefined && length >= 0; length--)
      node = length ? document.getIn(path.slice(0, length), true) : document.contents;
    const line = lines.linePos((node as Node | undefined)?.range?.[0] ?? 0).line;
    const unknown = issue.code === 'unrecognized_keys' ? ` (unknown: ${issue.keys.join(', ')})` : '';
    const says = issue.code === 'invalid_key' ? (issue.issues[0]?.message ?? issue.message) : issue.message;
    return `${file}:${line} ${path.map(String).join('.') || 'file'}: ${says}${unknown}`;
  });
  throw new FileError(faults.join('\n'));
}

/** Aliases are resolved only here, so here one that leads nowhere or grows without end is found. */
function plain(document: Document, file: string): unknown {
  try {
    return document.toJS({ maxAliasCount: 100 });
  } catch (error) {
    throw new FileError(`${file}:1 ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}
