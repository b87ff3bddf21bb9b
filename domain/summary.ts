import type { Cause, Runbook } from './runbook.ts';
import type { Conclusion, Verdict, VerdictKind } from './verdict.ts';

/** All that is said of one cause with one kind of verdict: at which places, and the sentence that says most. */
export interface CauseSummary {
  cause: Cause;
  places: string[];
  says: string;
  verdicts: Verdict[];
}

/**
 * Groups verdicts of one kind by cause, in the order of the runbook's families. The sentence shown is the one with the
 * largest loss beside it: it is the number that rules out most.
 */
export function summarise(runbook: Runbook, conclusion: Conclusion, kind: VerdictKind): CauseSummary[] {
  const groups = new Map<string, Verdict[]>();
  for (const verdict of conclusion.verdicts)
    if (verdict.kind === kind) groups.set(verdict.cause, [...(groups.get(verdict.cause) ?? []), verdict]);
  return [...groups].flatMap(([id, verdicts]) => {
    const cause = runbook.causes.find((one) => one.id === id);
    const [first] = verdicts.toSorted((a, b) => b.lost - a.lost);
    return cause && first ? [{ cause, places: verdicts.map(({ place }) => place), says: first.says, verdicts }] : [];
  });
}

/** `lost 200 of 200 = h2 UdpInCsumErrors 200`: the sum that every lossy step is held to. */
export function sumOf({ sent, lost, explained }: Conclusion['accounts'][number]): string {
  const number = (value: number): string => value.toLocaleString('en-US');
  const parts = explained.map((one) => `${one.place} ${one.counter} ${number(one.counted)}`);
  return `lost ${number(lost)} of ${number(sent)}${parts.length ? ` = ${parts.join(' = ')}` : ''}`;
}
