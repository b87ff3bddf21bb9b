import type { Reader } from '../cluster/index.ts';
import { expression, template as textOf } from '../domain/cel.ts';
import type { Evidence } from '../domain/evidence.ts';
import { type Facts, factsAt } from '../domain/facts/facts.ts';
import { Unseen } from '../domain/facts/unread.ts';
import { type Exact, type Proposal, nameOf, proposedEdit, proposedPatch } from '../domain/proposal.ts';
import type { ProposalTemplate, ProposalTo, Remedy } from '../domain/runbook.ts';
import type { Place } from '../domain/target.ts';
import { readFiles } from '../nodes/operations/files.ts';
import type { Deps } from './deps.ts';

/** A place at which a remedy is wanted, and in whose window its values are taken. */
export interface Wanted {
  place: Place;
  cause: string;
  way?: 'back';
  step: string;
}

/** What was found of the alternatives, or why nothing was. */
type Found = { exact: Exact } | { unread: string };

/**
 * What remedies propose to those who own a setting, for each place where they are wanted. Nothing is changed; the objects
 * are read with the rights that the run has, and what may not be read is proposed in words.
 */
export async function proposalsOf(
  deps: Pick<Deps, 'inventory' | 'shells'>,
  remedies: readonly Remedy[],
  evidence: Evidence,
  places: readonly Wanted[],
): Promise<Proposal[]> {
  const templates = remedies.flatMap(({ propose }) => propose);
  if (templates.length === 0) return [];
  const reader = await readerOf(deps);
  const found: Proposal[] = [];
  for (const template of templates)
    for (const wanted of places) {
      const window = evidence.windows.findLast(({ step }) => step === wanted.step);
      if (!window) continue;
      const facts = factsAt(evidence, window, wanted.place, wanted.way ? { way: wanted.way } : {});
      const made = await proposalOf(deps, reader, template, wanted, facts);
      // Two places of one cluster share an object: one patch of it is enough.
      if (made && !found.some((one) => one.object === made.object && one.says === made.says)) found.push(made);
    }
  return found;
}

async function proposalOf(
  { shells }: Pick<Deps, 'shells'>,
  reader: Reader | undefined,
  { when, why, to, else: otherwise }: ProposalTemplate,
  { place, cause }: Wanted,
  facts: Facts,
): Promise<Proposal | undefined> {
  const base = { place: place.name, cause };
  const inWords = (says: string): Proposal | undefined => {
    const words = otherwise === undefined ? '' : said(otherwise, facts);
    const exact = { object: '', fields: [], owner: '', diff: '', command: '', afterwards: '' };
    return words ? { ...base, ...exact, why: said(why, facts), says: says ? `${words} (${says})` : words } : undefined;
  };
  try {
    if (when !== undefined && expression(when).evaluate(facts) !== true) return undefined;
  } catch (error) {
    if (!(error instanceof Unseen)) throw error;
    // Outside a cluster there is nobody to whom it could be proposed.
    return reader ? inWords(`not exact: ${error.message}`) : undefined;
  }
  const unread: string[] = [];
  for (const one of to) {
    const result = await sought(one).catch((error: unknown): Found => ({ unread: error instanceof Error ? error.message : String(error) })); // prettier-ignore
    if ('exact' in result) return { ...base, why: said(why, facts), says: '', ...result.exact };
    if (result.unread) unread.push(result.unread);
  }
  return inWords(unread.length ? `not exact: ${unread.join('; ')}` : '');

  /** @throws Unseen where a value is not known; Error where the node does not answer */
  async function sought(one: ProposalTo): Promise<Found> {
    const values = valuesOf(one.set, facts);
    if ('file' in one) {
      for (const file of await readFiles(shells.of(place.node), place.node, one.file)) {
        const exact = proposedEdit(one, place.node, file, values);
        if (exact) return { exact };
      }
      return { unread: '' };
    }
    if (!reader) return { unread: '' };
    const { readObject } = await import('../cluster/index.ts');
    const object = await readObject(reader, one.object);
    const exact = object && proposedPatch(one.object, object, values, one.afterwards);
    return exact ? { exact } : { unread: reader.denied[nameOf(one.object)] ?? '' };
  }
}

/** Numbers are whole: every setting that is proposed counts something. */
const valuesOf = (set: Record<string, string>, facts: Facts): Record<string, number | string> =>
  Object.fromEntries(
    Object.entries(set).map(([path, text]) => {
      const value = expression(text).evaluate(facts);
      return [path, typeof value === 'number' ? Math.round(value) : String(value)];
    }),
  );

function said(text: string, facts: Facts): string {
  try {
    return textOf(text)(facts);
  } catch (error) {
    // Words that need a number which is not known say less.
    if (error instanceof Unseen) return text.replaceAll(/\{[^}]+\}/g, '?');
    throw error;
  }
}

async function readerOf({ inventory, shells }: Pick<Deps, 'inventory' | 'shells'>): Promise<Reader | undefined> {
  if (!inventory.kubernetes) return undefined;
  const [{ Reader: Made }, { config }] = await Promise.all([import('../cluster/index.ts'), shells.cluster()]);
  return new Made(config);
}
