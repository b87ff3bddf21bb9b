import { z } from 'zod';
import { digestOf } from './digest.ts';
import { plainText } from './plain-text.ts';

/** What incident tooling may say of a problem. `cancelled`: it was none, or its incident was declined or deleted. */
export const AlertStatus = z.enum(['firing', 'acknowledged', 'resolved', 'cancelled']);
export type AlertStatus = z.infer<typeof AlertStatus>;

/** What a link leads to. */
export const LinkRel = z.enum(['runbook', 'generator', 'silence', 'incident', 'dashboard']);
export type LinkRel = z.infer<typeof LinkRel>;

/** Characters and counts; a longer text is cut with an ellipsis, more labels or links are left out. */
const most = {
  source: 63,
  problem: 200,
  title: 300,
  severity: 63,
  labels: 64,
  key: 100,
  value: 500,
  links: 10,
  href: 2000,
};

/** Names that are never keys: code that copies with `target[key] = value` would reach every object's prototype. */
const forbiddenKeys = new Set(['__proto__', 'constructor', 'prototype']);

const line = (max: number) => z.string().max(max).refine((text) => plainText(text, max) === text, 'not plain text'); // prettier-ignore
const texts = z
  .record(line(most.key).min(1), line(most.value))
  .refine((all) => Object.keys(all).length <= most.labels, `more than ${most.labels}`)
  .refine((all) => Object.keys(all).every((key) => !forbiddenKeys.has(key)), 'a forbidden key');

/**
 * What one message of incident tooling says of one problem. Every text in it is a stranger's: shown, compared, and
 * mapped to known objects through an allow list, but never part of a command, a query or an expression.
 */
export const Alert = z.strictObject({
  /** The configured name of the sender. */
  source: line(most.source).min(1),
  /** The same for all messages about one problem of this source: a fingerprint, group key, incident id or alias. */
  problem: line(most.problem).min(1),
  status: AlertStatus,
  title: line(most.title),
  severity: line(most.severity).optional(),
  /** When it came to be so by the sender's clock, ISO 8601 in UTC. */
  at: z.iso.datetime().optional(),
  labels: texts,
  annotations: texts,
  links: z
    .array(z.strictObject({ rel: LinkRel, href: z.url({ protocol: /^https?$/ }).max(most.href) }))
    .max(most.links),
});
export type Alert = z.infer<typeof Alert>;

/** What a normaliser found in a body, where it found it: nothing in it is checked yet. */
export interface Draft {
  problem: unknown;
  status: AlertStatus;
  title?: unknown;
  severity?: unknown;
  at?: unknown;
  labels?: unknown;
  annotations?: unknown;
  links?: Partial<Record<LinkRel, unknown>>;
}

/**
 * Makes an Alert of a draft: cleans, cuts, and leaves out what is of another type.
 * @returns undefined where the draft names no problem: there is nothing that a second message could be matched with
 */
export function alertOf(source: string, draft: Draft): Alert | undefined {
  const problem = problemId(draft.problem);
  if (problem === undefined) return undefined;
  const severity = plainText(textOf(draft.severity) ?? '', most.severity);
  const at = timeOf(draft.at);
  return {
    source,
    problem,
    status: draft.status,
    title: plainText(textOf(draft.title) ?? '', most.title) || problem,
    ...(severity && { severity }),
    ...(at !== undefined && { at }),
    labels: textsOf(draft.labels),
    annotations: textsOf(draft.annotations),
    links: linksOf(draft.links ?? {}),
  };
}

/** An id that had to be cleaned or cut gets a digest of the whole: two problems must not become one by that. */
function problemId(value: unknown): string | undefined {
  const text = textOf(value);
  if (!text) return undefined;
  const plain = plainText(text, most.problem);
  return plain === text ? text : `${plainText(text, most.problem - 20)} ${digestOf(text).slice(0, 16)}`.trim();
}

/** Strings, and numbers and booleans as they are written; everything else is no text. */
function textOf(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  return typeof value === 'number' || typeof value === 'boolean' || typeof value === 'bigint' ? `${value}` : undefined;
}

function textsOf(value: unknown): Record<string, string> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return {};
  const all = new Map<string, string>();
  for (const [name, raw] of Object.entries(value)) {
    if (all.size === most.labels) break;
    const key = plainText(name, most.key);
    const text = textOf(raw);
    // The first wins: a second key that is only by its unseen characters another must not replace it.
    if (key && text !== undefined && !forbiddenKeys.has(key) && !all.has(key))
      all.set(key, plainText(text, most.value));
  }
  return Object.fromEntries(all);
}

function linksOf(links: Partial<Record<LinkRel, unknown>>): Alert['links'] {
  return Object.entries(links)
    .flatMap(([rel, value]) => {
      const text = textOf(value);
      // A URL with a name in front of the host looks like another host's.
      const url = text && text.length <= most.href && URL.canParse(text) ? new URL(text) : undefined;
      if (!url || !/^https?:$/.test(url.protocol) || url.username || url.password || url.href.length > most.href)
        return [];
      return [{ rel: rel as LinkRel, href: url.href }];
    })
    .slice(0, most.links);
}

/** 2000 to 2100 in milliseconds: outside of it is Go's zero time, a wrong unit, or nonsense. */
const years = [Date.UTC(2000, 0), Date.UTC(2100, 0)] as const;

/** ISO text, or a number since the epoch in seconds, milli-, micro- or nanoseconds: the one that gives a year of ours. */
function timeOf(value: unknown): string | undefined {
  const text = textOf(value);
  if (text === undefined || text.length > 64) return undefined;
  const numeric = /^\d{9,20}(\.\d+)?$/.test(text);
  // A text that has no year in front is not guessed at: Date.parse makes a date of "1" too.
  if (!numeric && !/^\d{4}-\d\d-\d\dT/.test(text)) return undefined;
  const times = numeric ? [1e3, 1, 1e-3, 1e-6].map((unit) => Number(text) * unit) : [Date.parse(text)];
  const time = times.find((one) => one >= years[0] && one < years[1]);
  return time === undefined ? undefined : new Date(time).toISOString();
}
