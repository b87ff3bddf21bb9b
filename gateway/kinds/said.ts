import type { Draft } from '../../domain/alert.ts';
import { plainText } from '../../domain/plain-text.ts';

/** What a body says, before anything in it is cleaned. */
export interface Said {
  /** The id that the sender gives to this delivery and repeats when it sends it again. */
  delivery?: unknown;
  drafts: Draft[];
  /** Why nothing, or not all of it, is about a problem's state. */
  ignored?: string;
}

export const ignored = (why: string): Said => ({ drafts: [], ignored: why });

/** A stranger's word in a sentence of ours. */
export const quoted = (value: unknown): string =>
  typeof value === 'string' ? `"${plainText(value, 60)}"` : value === undefined ? 'nothing' : typeof value;

/** What is at a path of keys; undefined where something on the way is no object or has no such key of its own. */
export function at(value: unknown, ...keys: string[]): unknown {
  let found = value;
  for (const key of keys) {
    if (typeof found !== 'object' || found === null || !Object.hasOwn(found, key)) return undefined;
    found = (found as Record<string, unknown>)[key];
  }
  return found ?? undefined;
}

/** The text at a path; an empty one is none. */
export function textAt(value: unknown, ...keys: string[]): string | undefined {
  const found = at(value, ...keys);
  return typeof found === 'string' && found !== '' ? found : undefined;
}

export function listAt(value: unknown, ...keys: string[]): unknown[] {
  const found = at(value, ...keys);
  return Array.isArray(found) ? found : [];
}

/** The object at a path, for labels that are merged; arrays are none. */
export function objectAt(value: unknown, ...keys: string[]): Record<string, unknown> {
  const found = at(value, ...keys);
  return typeof found === 'object' && found !== null && !Array.isArray(found) ? (found as Record<string, unknown>) : {};
}
