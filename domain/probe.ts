import { z } from 'zod';

/**
 * Where the datagrams of a probe go: undrop's own listener at the far end (either way), or the Service's application by the
 * Service's address, a node's port, its endpoint's own address, a pod's by its host port, or on a flow that is there
 * already. `pinned`: straight to the endpoint that session affinity keeps for the sender; `others`: to each of the others.
 */
const Route = z.enum(['path', 'reverse', 'service', 'nodeport', 'endpoint', 'hostport', 'flow', 'pinned', 'others']);

/** One probe of the runbook: what is sent in one window. */
export const Probe = z.strictObject({
  route: Route,
  /** Payload sizes in bytes, or a sweep around the sizes that the path's MTUs suggest. */
  sizes: z.union([z.array(z.int().min(20).max(65000)).min(1), z.literal('sweep')]),
  /** Datagrams per size. */
  count: z.int().min(1).max(20_000),
  /** Datagrams per second; 0: as fast as the sender can. */
  rate: z.number().min(0).max(20_000),
  /** `fresh`: a source port for each datagram. `one`: all from one. `sequence`: one port after another, from a given one. */
  source: z.enum(['fresh', 'one', 'sequence']).default('fresh'),
  /** With `fresh`: so many leave from each source port, before the next port. */
  perPort: z.int().min(1).max(100).default(1),
  /** The application answers nothing: arrivals are counted beside it, as they enter its namespace. */
  silent: z.boolean().default(false),
  /** Forbids fragments (IPv4's DF bit). */
  df: z.boolean().default(false),
  /** `software`: checksums computed by undrop, so that no offload takes part. */
  checksum: z.enum(['kernel', 'software']).default('kernel'),
  /** A second pod of the sender's node sends the same at the same moment. */
  withPeer: z.boolean().default(false),
  /** Sent in a random on/off code with a sample at each edge: tells this loss from other traffic's. Number of chips. */
  chips: z.int().min(8).max(200).optional(),
});
export type Probe = z.infer<typeof Probe>;

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

/** Requests that were watched on one flow, as the sender's end names it. */
export interface FlowLoss {
  source: string;
  sourcePort: number;
  destination: string;
  destinationPort: number;
  sent: number;
  lost: number;
}

/** What a window of watched traffic says beyond a probe. Requests and replies are each sent, in their own directions. */
export interface Watched {
  requests: number;
  replies: number;
  /** Came to the receiver's interface and drew no answer, and the receiver counts as many drops: in `lost`. */
  unread: number;
  /** Came there and drew no answer, and nothing there counts a loss: what the application took. */
  silent: number;
  /** Lost while the first or last edge was sampled: counters may have them or not. */
  slack: number;
  /** What could not be compared, and why: datagrams. */
  leftOut: Record<string, number>;
  /** The flows that lost most; all others together are in `others`. */
  flows: FlowLoss[];
  others: { flows: number; sent: number; lost: number };
}

export const noneWatched: Watched = {
  requests: 0,
  replies: 0,
  unread: 0,
  silent: 0,
  slack: 0,
  leftOut: {},
  flows: [],
  others: { flows: 0, sent: 0, lost: 0 },
};

/** A resolver's every datagram is a flow of its own: so many are kept one by one. */
const mostFlows = 200;

/** The flows that lost most, and the sum of the others. */
export function worstFlows(all: readonly FlowLoss[]): Pick<Watched, 'flows' | 'others'> {
  const sorted = all.toSorted((a, b) => b.lost - a.lost || b.sent - a.sent);
  const rest = sorted.slice(mostFlows);
  const sum = (pick: (one: FlowLoss) => number): number => rest.reduce((total_, one) => total_ + pick(one), 0);
  return {
    flows: sorted.slice(0, mostFlows),
    others: { flows: rest.length, sent: sum(({ sent }) => sent), lost: sum(({ lost }) => lost) },
  };
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

function addWatched(all: readonly Watched[]): Watched {
  const flows = new Map<string, FlowLoss>();
  const leftOut: Record<string, number> = {};
  for (const one of all) {
    for (const flow of one.flows) {
      const key = flowName(flow);
      const known = flows.get(key) ?? { ...flow, sent: 0, lost: 0 };
      flows.set(key, { ...known, sent: known.sent + flow.sent, lost: known.lost + flow.lost });
    }
    for (const [why, count] of Object.entries(one.leftOut)) leftOut[why] = (leftOut[why] ?? 0) + count;
  }
  const sum = (pick: (one: Watched) => number): number => all.reduce((total_, one) => total_ + pick(one), 0);
  const worst = worstFlows([...flows.values()]);
  return {
    requests: sum((one) => one.requests),
    replies: sum((one) => one.replies),
    unread: sum((one) => one.unread),
    silent: sum((one) => one.silent),
    slack: sum((one) => one.slack),
    leftOut,
    flows: worst.flows,
    others: {
      flows: worst.others.flows + sum((one) => one.others.flows),
      sent: worst.others.sent + sum((one) => one.others.sent),
      lost: worst.others.lost + sum((one) => one.others.lost),
    },
  };
}

/** `10.244.1.2:40123 -> 10.96.0.10:9000` */
export const flowName = ({
  source,
  sourcePort,
  destination,
  destinationPort,
}: Omit<FlowLoss, 'sent' | 'lost'>): string => `${source}:${sourcePort} -> ${destination}:${destinationPort}`;

/**
 * Payload sizes at which paths break: the exact fit of common MTUs below the sender's, one byte beside its own, and some
 * that the sender has to fragment. Headers: 28 bytes of IPv4 and UDP, 48 of IPv6.
 */
export function sweepSizes(senderMtu: number, ipv6: boolean, df: boolean): number[] {
  const headers = ipv6 ? 48 : 28;
  const mtus = [
    1280,
    1350,
    1400,
    1410,
    1430,
    1450,
    1460,
    1480,
    1500,
    4000,
    8000,
    8950,
    9000,
    senderMtu - 50,
    senderMtu,
  ];
  const fits = [64, 512, 1200, ...mtus.filter((mtu) => mtu <= senderMtu && mtu > 600).map((mtu) => mtu - headers)];
  const beyond = df ? [] : [senderMtu - headers + 8, 2000, 4000].filter((size) => size > senderMtu - headers);
  return [...new Set([...fits, ...beyond])].toSorted((a, b) => a - b);
}
