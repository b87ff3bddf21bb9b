import { nextLine } from './report.ts';
import type { Runbook } from './runbook.ts';
import { sumLine, summarise, sumsOf } from './summary.ts';
import type { Conclusion } from './verdict.ts';

/** A conclusion in the words of a page. */
export interface Sections {
  /** What the loss adds up to, a line each. */
  sums: string[];
  sections: { title: string; open: boolean; rows: [cause: string, at: string, why: string][] }[];
  next: string;
}

/** The conclusion as sections of a page: what is proved, suspected, ruled out and untested, each with its number. */
export function sectionsOf(runbook: Runbook, conclusion: Conclusion): Sections {
  const titles = { proved: 'Proved', suspected: 'Suspected', refuted: 'Ruled out', untested: 'Not tested' } as const;
  const sections = (Object.keys(titles) as (keyof typeof titles)[]).map((kind) => ({
    title: titles[kind],
    open: kind === 'proved' || kind === 'suspected',
    rows: summarise(runbook, conclusion, kind).flatMap(({ cause, verdicts }) =>
      verdicts.map(({ place, says }): [string, string, string] => [`${cause.id}: ${cause.title}`, place, says]),
    ),
  }));
  return {
    sums: sumsOf(conclusion).map(sumLine),
    sections: sections.filter(({ rows }) => rows.length > 0),
    next: nextLine(runbook, conclusion),
  };
}
