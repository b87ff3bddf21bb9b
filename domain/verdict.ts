export type VerdictKind = 'proved' | 'suspected' | 'refuted' | 'untested';

/** What a run says of one cause at one place, with the number that decided it. */
export interface Verdict {
  cause: string;
  place: string;
  kind: VerdictKind;
  /** One sentence with the numbers. */
  says: string;
  /** The step whose window decided. */
  step: string;
  /** For the sum in the report: marked datagrams lost there, and what the cause's counter says of them. */
  lost: number;
  counted: number;
  /** Every step whose loss the cause is proved to explain. `among`: what its counter moved in all, with other traffic. */
  proves: { step: string; lost: number; counted: number; share?: true; among?: number }[];
  /** Its count is one endpoint's share of a loss that all endpoints of a Service have together. */
  share?: true;
  /** Set where only other traffic in its counter leaves it a suspicion: what the counter moved in all, no less than was lost. */
  among?: number;
  /** And that is more than other traffic does by chance. */
  beyond?: true;
  /** Set on a proved cause that another proved cause produces, or that is only a condition of the other's. */
  effectOf?: string;
  /** The step that would turn a suspicion into proof or refutation. */
  next?: string;
  /** Set at a hop where the loss was on the way back: its route, neighbour and device are those of that way. */
  way?: 'back';
  /** Counter name as printed. */
  counter: string;
}

/** How many of the marked datagrams were lost in a step, and which verdicts account for them. */
export interface Account {
  step: string;
  sent: number;
  lost: number;
  requestLost: number;
  replyLost: number;
  oneWay: boolean;
  /** `lost`: the loss that the count was held against, which may be the requests or the replies alone. */
  explained: {
    cause: string;
    place: string;
    counted: number;
    counter: string;
    lost: number;
    share?: true;
    /** What the counter moved in all, where other traffic moves it too. */
    among?: number;
  }[];
}

/** A step is explained from this share of its loss on. */
const enough = 0.8;

/**
 * How much of a step's loss is accounted for: by a count of all of it, or by one of the requests and one of the replies.
 * Counts of the same loss, such as an effect's or the next place's, are not added up.
 */
function accountedFor({ lost, requestLost, replyLost, explained }: Account): number {
  const most = (loss: number): number => {
    const counts = explained.flatMap((one) => (one.lost === loss && !one.share ? [Math.min(one.counted, loss)] : []));
    // Shares of several endpoints are of different datagrams.
    const causes = [...new Set(explained.map(({ cause }) => cause))];
    const shares = causes.map((cause) =>
      explained.reduce(
        (sum, one) => sum + (one.share && one.cause === cause && one.lost === loss ? one.counted : 0),
        0,
      ),
    );
    return Math.max(0, ...counts, ...shares.map((sum) => Math.min(sum, loss)));
  };
  // Where as many replies as requests were lost, two counts of that size may be of the same loss.
  return Math.max(most(lost), most(requestLost) + (replyLost === requestLost ? 0 : most(replyLost)));
}

/** What of a step's loss is open; 0 where enough of it is accounted for. */
export function openLoss(account: Account): number {
  const known = accountedFor(account);
  return known >= enough * account.lost ? 0 : account.lost - known;
}

export interface Conclusion {
  /** `explained`: every lossy step is accounted for. `inconclusive`: no cause is proved, or nothing could be sent. */
  kind: 'no-loss' | 'explained' | 'partly' | 'inconclusive';
  says: string;
  /** Proved causes that are no other's effect. */
  roots: Verdict[];
  verdicts: Verdict[];
  accounts: Account[];
  /** The single next most telling step, where something is left open. */
  next?: { step: string; why: string };
  /** Nothing was sent: users' traffic was watched. */
  passive?: true;
  /** Places that could not be seen, and why. */
  unseen: Record<string, string>;
}
