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
  /** Every step whose loss the cause is proved to explain. */
  proves: { step: string; lost: number; counted: number }[];
  /** Set on a proved cause that another proved cause produces. */
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
  explained: { cause: string; place: string; counted: number; counter: string }[];
}

export interface Conclusion {
  /** `explained`: every lossy step is accounted for. `inconclusive`: no cause is proved. */
  kind: 'no-loss' | 'explained' | 'partly' | 'inconclusive';
  says: string;
  /** Proved causes that are no other's effect. */
  roots: Verdict[];
  verdicts: Verdict[];
  accounts: Account[];
  /** The single next most telling step, where something is left open. */
  next?: { step: string; why: string };
  /** Places that could not be seen, and why. */
  unseen: Record<string, string>;
}
