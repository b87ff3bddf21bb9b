import { shown } from './cel.ts';
import type { Cause, Runbook } from './runbook.ts';
import { significant } from './statistics.ts';
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

/** One line of the account: all steps whose loss the same counters explain, or that nothing explains. */
export interface Sum {
  steps: string[];
  sent: number;
  lost: number;
  /** `h2 UdpInCsumErrors +200`, one per cause that accounts for it. */
  parts: string[];
}

/** Adds up the lossy steps by what explains them: the sum that every report is held to. */
export function sumsOf({ accounts }: Conclusion): Sum[] {
  const sums = new Map<string, Sum & { counted: number[]; names: string[] }>();
  for (const { step, sent, lost, explained } of accounts.filter((one) => significant(one.lost))) {
    const names = explained.map(({ place, counter }) => `${place} ${counter}`);
    const key = names.join('\n');
    const sum = sums.get(key) ?? { steps: [], sent: 0, lost: 0, parts: [], names, counted: names.map(() => 0) };
    sum.steps.push(step);
    sum.sent += sent;
    sum.lost += lost;
    explained.forEach(({ counted }, index) => (sum.counted[index] = (sum.counted[index] ?? 0) + counted));
    sums.set(key, sum);
  }
  return [...sums.values()].map(({ names, counted, ...sum }) => ({
    ...sum,
    parts: names.map((name, index) => `${name} +${shown(counted[index] ?? 0)}`),
  }));
}

/** `lost 1,000 of 1,200 = h2 UdpInCsumErrors +1,000 (small, burst)` */
export const sumLine = ({ steps, sent, lost, parts }: Sum): string =>
  `lost ${shown(lost)} of ${shown(sent)}${parts.length ? ` = ${parts.join(' = ')}` : ', not accounted for'} (${steps.join(', ')})`;
