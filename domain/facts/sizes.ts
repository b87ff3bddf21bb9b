import { type Evidence, fullSample } from '../evidence.ts';
import type { ProbeResult } from '../probe-result.ts';
import { significant } from '../statistics.ts';
import { receiverOf } from '../target.ts';
import { mtuThatFits } from './mtu.ts';
import { Unseen } from './unread.ts';

/** Where a sweep over sizes breaks. `sharp`: everything up to `passes` arrives, nothing from `fails` on does. */
interface Cliff {
  sharp: boolean;
  /** Largest payload that arrives, and smallest that does not, in bytes. */
  passes: number;
  fails: number;
  lostAbove: number;
}

const noCliff: Cliff = { sharp: false, passes: 0, fails: 0, lostAbove: 0 };

/** Finds the one size at which loss jumps from at most 10 % to at least 90 %. */
export function cliffOf(probe: ProbeResult | undefined): Cliff {
  const sizes = (probe?.bySize ?? []).filter((one) => one.sent > 0);
  const good = (one: { lost: number; sent: number }): boolean => one.lost <= 0.1 * one.sent;
  const bad = (one: { lost: number; sent: number }): boolean => one.lost >= 0.9 * one.sent;
  const first = sizes.findIndex((one) => !good(one));
  if (first < 1) return noCliff;
  const above = sizes.slice(first);
  const lostAbove = above.reduce((sum, one) => sum + one.lost, 0);
  return {
    sharp: above.every(bad) && significant(lostAbove),
    passes: sizes[first - 1]?.size ?? 0,
    fails: sizes[first]?.size ?? 0,
    lostAbove,
  };
}

/** The MTU of the device by which the sender's datagrams leave. */
export function senderMtu(evidence: Evidence): number {
  const [sender] = evidence.path.places;
  const sample = sender && fullSample(evidence, sender.name);
  const device = sample?.routes[receiverOf(evidence.path)?.address ?? '']?.device;
  return sample?.links.find((link) => link.name === device)?.mtu ?? 1500;
}

/** What the two sweeps over sizes say. Loss of a sweep that was not taken is unknown, not none. */
export function sizeFacts(evidence: Evidence): object {
  const of = (step: string): ProbeResult | undefined => evidence.windows.find((window) => window.step === step)?.probe;
  const [df, plain] = [of('sizes-df'), of('sizes')];
  /** Of IP and UDP. */
  const headers = evidence.path.places[0]?.address.includes(':') ? 48 : 28;
  /** Largest payload that leaves the sender in one piece. */
  const fits = senderMtu(evidence) - headers;
  const lost = (whole: boolean): number => {
    if (!plain) throw new Unseen('the step sizes was not taken');
    return plain.bySize.reduce((sum, one) => sum + (one.size <= fits === whole ? one.lost : 0), 0);
  };
  return {
    df: cliffOf(df),
    plain: cliffOf(plain),
    fits,
    /** Loss of datagrams that left in one piece, and of those that the sender had to fragment, DF off. */
    get wholeLost() {
      return lost(true);
    },
    get piecesLost() {
      return lost(false);
    },
    /** The MTU that the sender's device should have, and how that is known. */
    get mtu() {
      const { sharp, passes, fails } = cliffOf(plain);
      if (!sharp) throw new Unseen('no size divides what arrives from what is lost');
      return mtuThatFits(evidence, passes + headers, fails + headers);
    },
    tested: df !== undefined && plain !== undefined,
  };
}
