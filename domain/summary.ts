import { shown } from './cel.ts';
import type { Cause, Runbook } from './runbook.ts';
import { significant } from './statistics.ts';
import { type Conclusion, type Verdict, type VerdictKind, openLoss } from './verdict.ts';

/** All that is said of one cause with one kind of verdict: at which places, and the sentence that says most. */
interface CauseSummary {
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

interface Part {
  lost: number;
  counted: Map<string, number>;
  /** What each counter moved in all, where other traffic moves it too. */
  among: Map<string, number>;
  shares?: true;
}

/** One line of the account: all steps whose loss the same counters explain, or that nothing explains. */
interface Sum {
  steps: string[];
  sent: number;
  lost: number;
  /** By the loss that counters were held against (`all`, `requests` or `replies`): how much that was, and each count. */
  parts: Map<string, Part>;
  /** Not accounted for. */
  open: number;
}

/** Adds up the lossy steps by what explains them: the sum that every report is held to. */
export function sumsOf({ accounts }: Conclusion): Sum[] {
  const sums = new Map<string, Sum>();
  for (const account of accounts.filter((one) => significant(one.lost))) {
    const { step, sent, lost, requestLost, explained } = account;
    const loss = (against: number): string =>
      against === lost ? 'all' : against === requestLost ? 'requests' : 'replies';
    const open = openLoss(account);
    const key = [
      open > 0,
      ...explained.map((one) => `${loss(one.lost)} ${one.place} ${one.counter} ${one.among !== undefined}`),
    ].join('\n');
    const sum: Sum = sums.get(key) ?? { steps: [], sent: 0, lost: 0, parts: new Map(), open: 0 };
    sum.steps.push(step);
    sum.sent += sent;
    sum.lost += lost;
    sum.open += open;
    const names = new Set(explained.map((one) => loss(one.lost)));
    for (const name of names) {
      const part: Part = sum.parts.get(name) ?? { lost: 0, counted: new Map(), among: new Map() };
      const same = explained.filter((one) => loss(one.lost) === name);
      part.lost += same[0]?.lost ?? 0;
      if (same.every(({ share }) => share)) part.shares = true;
      for (const { place, counter, counted, among } of same) {
        const what = `${place} ${counter}`;
        part.counted.set(what, (part.counted.get(what) ?? 0) + counted);
        if (among !== undefined) part.among.set(what, (part.among.get(what) ?? 0) + among);
      }
      sum.parts.set(name, part);
    }
    sums.set(key, sum);
  }
  return [...sums.values()];
}

/**
 * `lost 1,000 of 1,200 = h2 UdpInCsumErrors +1,000 (small, burst)`, or by direction where counters account for one:
 * `lost 180 of 200, replies 30 = h1 rule x +30, 150 not accounted for (small)`
 */
export function sumLine({ steps, sent, lost, parts, open }: Sum): string {
  const equal = [...parts].map(([name, part]) => {
    const counts = [...part.counted]
      .map(([what, counted], index) => {
        // Counts of one loss are each all of it; shares of several endpoints add up to it.
        const sign = part.shares && index > 0 ? 'and' : '=';
        const among = part.among.get(what);
        if (among !== undefined) return ` ${sign} ${what}, ${shown(counted)} of +${shown(among)} with other traffic's`;
        return ` ${sign} ${what} +${shown(counted)}`;
      })
      .join('');
    return name === 'all' ? counts : `, ${name} ${shown(part.lost)}${counts}`;
  });
  const rest = open === 0 ? '' : open === lost ? ', not accounted for' : `, ${shown(open)} not accounted for`;
  return `lost ${shown(lost)} of ${shown(sent)}${equal.join('')}${rest} (${steps.join(', ')})`;
}
