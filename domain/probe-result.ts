import { type Watched, addWatched } from './watched.ts';

export interface SizeResult {
  size: number;
  /** What the application tried to send, without what the kernel refused as too big. */
  sent: number;
  /** Refused with EMSGSIZE, and those sent before the sender was told so: known to be too big, so this is no loss. */
  tooBig: number;
  answered: number;
  arrived: number;
  lost: number;
}

/** What came of one probe. Lost are datagrams without an answer, undrop's own drops subtracted. */
export interface ProbeResult {
  sent: number;
  tooBig: number;
  /** Refused by the sender's kernel with another error, counted in `lost` but for undrop's own: errno name -> datagrams. */
  refused: Record<string, number>;
  answered: number;
  lost: number;
  /** Known only where undrop's own listener received: requests that never arrived, and answers that never came back. */
  requestLost: number;
  replyLost: number;
  /** True where undrop's own listener received. */
  oneWay: boolean;
  damaged: number;
  ownDrops: number;
  strange: number;
  /** Answers of a DNS server that it could not answer (SERVFAIL): they came, and count as lost. Left out where there are none. */
  servfail?: number;
  /** Of a silent probe: the first datagrams of their source ports, and how many of them arrived. */
  firsts?: { sent: number; arrived: number };
  bySize: SizeResult[];
  /** Only where nothing was sent and the target's own traffic was watched. */
  watched?: Watched;
}

/** The far fewer words that the prober on the node speaks. */
export interface SendAnswer {
  sent: Record<string, number>;
  refused: Record<string, Record<string, number>>;
  answered: Record<string, number>;
  strange: number;
  ownDrops: number;
  servfail?: number;
  /** Those of `sent` that were the first of their source port. */
  firsts: number;
}

export interface ReportAnswer {
  arrived: Record<string, number>;
  firsts: number;
  damaged: number;
  ownDrops: number;
}

const total = (numbers: Record<string, number>): number => Object.values(numbers).reduce((a, b) => a + b, 0);

/** What undrop itself had no file or port left for was never sent, and is no loss of the network's. */
const ownFailures = new Set(['EMFILE', 'ENFILE', 'EADDRINUSE']);

/** Joins what the sending and the receiving side counted. Without a report only the answers are known. */
export function joinProbe(send: SendAnswer, report?: ReportAnswer): ProbeResult {
  const sizes = new Set<string>([
    ...Object.keys(send.sent),
    ...Object.values(send.refused).flatMap((one) => Object.keys(one)),
  ]);
  const tooBig = send.refused['EMSGSIZE'] ?? {};
  const refused = Object.fromEntries(Object.entries(send.refused).filter(([name]) => name !== 'EMSGSIZE'));
  const bySize = [...sizes].map((size): SizeResult => {
    const lost = Object.entries(refused).reduce(
      (sum, [name, one]) => sum + (ownFailures.has(name) ? 0 : (one[size] ?? 0)),
      0,
    );
    const tried = (send.sent[size] ?? 0) + lost;
    const answered = send.answered[size] ?? 0;
    const arrived = report ? (report.arrived[size] ?? 0) : answered;
    // Told of the size while it sent, by a hop far away: those that went before and did not arrive are told of, too.
    const told = tooBig[size] === undefined ? 0 : tried - arrived;
    return {
      size: Number(size),
      sent: tried - told,
      tooBig: (tooBig[size] ?? 0) + told,
      answered,
      arrived,
      lost: tried - told - answered,
    };
  });
  bySize.sort((a, b) => a.size - b.size);
  const sum = (pick: (one: SizeResult) => number): number => bySize.reduce((all, one) => all + pick(one), 0);
  const sent = sum((one) => one.sent);
  const answered = sum((one) => one.answered);
  const arrived = sum((one) => one.arrived);
  // What undrop's own sockets had no room for is its own fault, never the node's.
  const ownAsking = Math.min(send.ownDrops, (report ? arrived : sent) - answered);
  const ownListening = Math.min(report?.ownDrops ?? 0, sent - arrived);
  return {
    sent,
    tooBig: sum((one) => one.tooBig),
    refused: Object.fromEntries(Object.entries(refused).map(([name, one]) => [name, total(one)])),
    answered,
    lost: sent - answered - ownAsking - ownListening,
    requestLost: sent - arrived - (report ? ownListening : ownAsking),
    replyLost: report ? arrived - answered - ownAsking : 0,
    oneWay: report !== undefined,
    damaged: report?.damaged ?? 0,
    ownDrops: send.ownDrops + (report?.ownDrops ?? 0),
    strange: send.strange,
    ...(send.servfail && { servfail: send.servfail }),
    bySize,
  };
}

/** The same where nobody answers: what did not arrive at any of the watched ends is lost. */
export function joinSilent(send: SendAnswer, reports: readonly ReportAnswer[]): ProbeResult {
  const sum = (pick: (one: ReportAnswer) => number): number => reports.reduce((all, one) => all + pick(one), 0);
  const sizes = Object.keys(send.sent);
  const arrived = Object.fromEntries(sizes.map((size) => [size, sum((one) => one.arrived[size] ?? 0)]));
  const ownDrops = sum((one) => one.ownDrops);
  // An arrival stands for the answer that is not to be expected.
  const joined = joinProbe({ ...send, answered: arrived, ownDrops: 0 }, { arrived, firsts: 0, damaged: 0, ownDrops });
  return {
    ...joined,
    answered: total(send.answered),
    firsts: { sent: send.firsts, arrived: sum((one) => one.firsts) },
  };
}

/** Adds up the results of probes sent one after another, or by two senders at once. */
export function addProbes(results: readonly ProbeResult[]): ProbeResult {
  const sizes = new Map<number, SizeResult>();
  const refused: Record<string, number> = {};
  for (const result of results) {
    for (const [name, count] of Object.entries(result.refused)) refused[name] = (refused[name] ?? 0) + count;
    for (const one of result.bySize) {
      const all = sizes.get(one.size) ?? { size: one.size, sent: 0, tooBig: 0, answered: 0, arrived: 0, lost: 0 };
      for (const key of ['sent', 'tooBig', 'answered', 'arrived', 'lost'] as const) all[key] += one[key];
      sizes.set(one.size, all);
    }
  }
  const sum = (pick: (one: ProbeResult) => number): number => results.reduce((all, one) => all + pick(one), 0);
  const servfail = sum((one) => one.servfail ?? 0);
  const firsts = results.flatMap((one) => one.firsts ?? []);
  return {
    sent: sum((one) => one.sent),
    tooBig: sum((one) => one.tooBig),
    refused,
    answered: sum((one) => one.answered),
    lost: sum((one) => one.lost),
    requestLost: sum((one) => one.requestLost),
    replyLost: sum((one) => one.replyLost),
    oneWay: results.every((one) => one.oneWay),
    damaged: sum((one) => one.damaged),
    ownDrops: sum((one) => one.ownDrops),
    strange: sum((one) => one.strange),
    ...(servfail && { servfail }),
    ...(firsts.length > 0 && {
      firsts: {
        sent: firsts.reduce((all, one) => all + one.sent, 0),
        arrived: firsts.reduce((all, one) => all + one.arrived, 0),
      },
    }),
    bySize: [...sizes.values()].toSorted((a, b) => a.size - b.size),
    ...(results.some(({ watched }) => watched) && {
      watched: addWatched(results.flatMap(({ watched }) => watched ?? [])),
    }),
  };
}
