import type { Verdict } from './verdict.ts';

/** Below this share a counter that moved is noise beside the loss, and the cause is ruled out with its number. */
export const negligible = 0.2;

/** A cause is proved when it explains at least this share of the loss at its hop (docs/methodology.md, rule 2). */
export const enough = 0.8;

/** Makes a verdict of one cause at one place. */
export type Make = (kind: Verdict['kind'], says: string, more?: Partial<Verdict>) => Verdict;

const order = ['proved', 'suspected', 'untested', 'refuted'];

/** The one that says most. One look that saw nothing does not rule out what another could not read. */
export function strongest(verdicts: Verdict[]): Verdict {
  const [best] = verdicts.toSorted((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind));
  if (!best) throw new Error('there is no verdict to choose from');
  return best;
}
