import type { DiagnoseInput, DiagnoseResult } from './runs.ts';

/** What one message of incident tooling says of one problem, as far as an incident needs it. */
export interface Report {
  /** Configured name of the source. */
  source: string;
  /** The problem's stable id there. */
  problem: string;
  status: 'firing' | 'acknowledged' | 'resolved' | 'cancelled';
  title: string;
}

/** The delivery that reports came with. */
export interface Origin {
  id: string;
  /** When the gateway took it in, by the clock of its database; milliseconds since the epoch. */
  received: number;
  /** A copy of it that comes within this time has no effect. */
  rememberMs: number;
}

/** What one delivery says of an incident's target. */
export interface News {
  origin: Origin;
  reports: Report[];
}

export interface Problem extends Report {
  /** Milliseconds since the epoch. */
  since: number;
  last: number;
  /** When the gateway took in what says how it stands. */
  received?: number;
  /** How often it was reported. */
  times: number;
}

/** What each of its diagnoses is given. The target is the failure domain: all problems of one target are one incident. */
export interface IncidentInput extends Omit<DiagnoseInput, 'passive'> {
  /** How many diagnoses of this inventory's incidents may run at once. */
  atOnce: number;
  /** Pauses instead of `retryMs`. */
  retryMs?: number[];
  /** What an earlier part of the same incident knew: long ones are continued in a new history. */
  carried?: Pick<IncidentProgress, 'problems' | 'runs'> & { seen?: Seen };
}

/** One diagnosis of an incident. */
export interface IncidentRun extends Partial<Pick<DiagnoseResult, 'kind' | 'says' | 'remediation'>> {
  run: string;
  started: number;
  ended?: number;
  failed?: string;
  /** Everything was stopped, so nothing was tried, or what was tried was cancelled. */
  stopped?: true;
}

export interface IncidentProgress {
  phase: 'waiting for its turn' | 'diagnosing' | 'open' | 'resolved' | 'closed';
  target: string;
  problems: Problem[];
  runs: IncidentRun[];
}

/** The id of an incident's workflow: what makes a repeated alert land in the same incident. */
export const incidentId = (inventory: string, target: string): string => `incident/${inventory}/${target}`;

/** Alerts that come until so long after a diagnosis belong to what it has looked at. */
export const joinMs = 600_000;
/** After a diagnosis that failed another is tried so much later; after the last of these only for what is reported then. */
export const retryMs: readonly number[] = [60_000, 300_000, 900_000];
/** All problems resolved for so long: the incident is over. */
export const quietMs = 600_000;
/** An incident of which nobody reports anything any more, resolved or not. */
export const silentMs = 6 * 3_600_000;
/** Problems that one incident keeps; further ones are counted only. */
export const mostProblems = 200;

/**
 * Takes a report in. How the problem stands is said by what the gateway took in last: a report that waited in its inbox
 * while the engine was away may come after a newer one.
 */
export function reported(problems: Problem[], report: Report, received: number, now: number): void {
  const known = problems.find(({ source, problem }) => source === report.source && problem === report.problem);
  if (known) {
    const news = received >= (known.received ?? 0) && { ...report, received };
    Object.assign(known, news, { last: now, times: known.times + 1 });
  } else if (problems.length < mostProblems) problems.push({ ...report, received, since: now, last: now, times: 1 });
}

/** Deliveries that were taken, each with the time until which a copy of it is known. */
export type Seen = Record<string, number>;
/** More than come in the time that most are remembered; the oldest are forgotten first. */
const mostSeen = 2000;

/**
 * Whether a delivery was taken before; it is remembered. The engine or the gateway may have died between doing and noting it,
 * and does it again, however much later: then it was taken in at the same moment. What a sender repeats later is another.
 */
export function seenBefore(seen: Seen, { id, received, rememberMs }: Origin, now: number): boolean {
  const taking = `${id} ${received}`;
  if (taking in seen || (seen[id] ?? 0) > now) return true;
  for (const key of [id, taking]) {
    delete seen[key]; // so that it becomes the newest
    seen[key] = now + rememberMs;
  }
  for (const one of Object.keys(seen).slice(0, -mostSeen)) delete seen[one];
  return false;
}

export const open = ({ status }: Pick<Report, 'status'>): boolean => status === 'firing' || status === 'acknowledged';

/**
 * When another diagnosis is due while something fires; milliseconds since the epoch. At once for what was reported long after
 * the last one had ended, and after a pause where that failed: senders that tell once are not to be forgotten. What a stop
 * has refused was no attempt.
 * @returns undefined where it waits for what is reported next
 */
export function dueAt(
  problems: readonly Problem[],
  runs: readonly IncidentRun[],
  pauses: readonly number[] = retryMs,
): number | undefined {
  const firing = problems.filter(open);
  if (firing.length === 0) return undefined;
  const last = runs.at(-1);
  if (!last) return 0;
  const { ended, failed, stopped } = last;
  if (ended === undefined) return undefined;
  if (firing.some((one) => one.last > ended + joinMs)) return 0;
  if (failed === undefined) return undefined;
  const since = runs.slice(runs.findLastIndex((one) => one.failed === undefined) + 1);
  const attempts = since.filter((one) => !one.stopped).length;
  const pause = stopped ? pauses[0] : pauses[attempts - 1];
  return pause === undefined ? undefined : ended + pause;
}

/** When the incident is over if nothing more is reported; milliseconds since the epoch. */
export function overAt(problems: readonly Problem[]): number {
  const last = Math.max(0, ...problems.map((one) => one.last));
  return last + (problems.some(open) ? silentMs : quietMs);
}
