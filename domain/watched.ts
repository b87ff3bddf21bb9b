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

/** Adds up what was watched in one window after another. */
export function addWatched(all: readonly Watched[]): Watched {
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
