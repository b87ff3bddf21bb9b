import { expression } from './cel.ts';
import { type Evidence, type Window, controlOf, isPassive, lengthOf, passiveStep } from './evidence.ts';
import { type Facts, type Look, factsAt } from './facts/facts.ts';
import { focusOf } from './facts/moved.ts';
import { senderMtu } from './facts/sizes.ts';
import { Unseen } from './facts/unread.ts';
import { reasonOf } from './judge-conditions.ts';
import { type ProbeResult, addProbes } from './probe-result.ts';
import type { Cause } from './runbook.ts';
import { significant } from './statistics.ts';
import type { Place } from './target.ts';

/** How many datagrams this place lost in this way. @throws Unseen where that could not be read */
export function count(cause: Cause, facts: Facts): number {
  const value = expression(cause.counts).evaluate(facts);
  if (typeof value !== 'number' || !Number.isFinite(value)) throw new Unseen(`${cause.counts} is not a number here`);
  return value;
}

/** What the same count moved in the control window, scaled to this window's length. */
export function backgroundOf(cause: Cause, evidence: Evidence, window: Window, place: Place, look: Look): number {
  // Users' traffic does not stop for us: the count must fit the loss as it is, and keep its time.
  if (isPassive(evidence)) return 0;
  const control = controlOf(evidence);
  if (!control) throw new Unseen('there is no control window');
  return count(cause, factsAt(evidence, control, place, look)) * (lengthOf(window) / lengthOf(control));
}

/** What the same cause counted at the other receiving places, beyond their background. Those that were not seen count nothing. */
export function elsewhere(cause: Cause, evidence: Evidence, window: Window, place: Place): number {
  if (place.role !== 'receiver') return 0;
  const others = evidence.path.places.filter((one) => one.role === 'receiver' && one.name !== place.name);
  return others.reduce((sum, other) => {
    try {
      const look: Look = { way: 'back', focus: focusOf(evidence, window, other) };
      const counted = count(cause, factsAt(evidence, window, other, look));
      return sum + Math.max(0, counted - backgroundOf(cause, evidence, window, other, look));
    } catch (error) {
      reasonOf(error, evidence, other);
      return sum;
    }
  }, 0);
}

/**
 * Whether a count grew while datagrams were lost: in no part of a watched window it may be ahead or behind by more than a
 * quarter of the loss. Two losses of one size by chance show at different times, unless both are steady.
 */
export function keepsTime(
  cause: Cause,
  evidence: Evidence,
  place: Place,
  look: Look,
  against: number,
  slack: number,
): boolean {
  const parts = evidence.windows.filter(({ step, probe }) => step === passiveStep && probe);
  const total = addProbes(parts.flatMap(({ probe }) => probe ?? []));
  const lossOf = ({ lost, requestLost, replyLost }: ProbeResult): number =>
    against === total.lost ? lost : against === total.requestLost ? requestLost : replyLost;
  let [ahead, counted] = [0, 0];
  const lags = parts.map((part) => {
    const moved = count(cause, factsAt(evidence, part, place, look));
    counted += moved;
    return { moved, lost: part.probe ? lossOf(part.probe) : 0 };
  });
  // Only the shape is compared here; whether the sums fit was asked before.
  const scale = counted > 0 ? against / counted : 1;
  return lags.every(({ moved, lost }) => {
    ahead += moved * scale - lost;
    return Math.abs(ahead) <= 0.25 * against + slack;
  });
}

/** The loss that the cause can account for and that its count fits best: requests, replies or both. */
export function closestLoss(cause: Cause, probe: ProbeResult, counted: number): number {
  return lossesFor(cause, probe).toSorted((a, b) => fit(counted, a) - fit(counted, b))[0] ?? probe.lost;
}

function lossesFor(cause: Cause, probe: ProbeResult): number[] {
  const ways = {
    request: [probe.requestLost],
    reply: [probe.replyLost],
    any: [probe.lost, probe.requestLost, probe.replyLost],
  };
  const known = probe.oneWay ? ways[cause.loses] : [probe.lost];
  return known.filter(significant).concat(known.some(significant) ? [] : [probe.lost]);
}

/**
 * How many packets the lost datagrams were: counters below IP see each fragment, and one more for what is given up with
 * them; those above see datagrams.
 */
export function packetsLost(evidence: Evidence, probe: ProbeResult, lost: number): number {
  const perPacket = Math.max(8, (senderMtu(evidence) - 20) & ~7);
  const packets = probe.bySize.reduce((sum, one) => {
    const pieces = Math.ceil((one.size + 8) / perPacket);
    return sum + one.lost * (pieces === 1 ? 1 : pieces + 1);
  }, 0);
  return Math.max(lost, packets);
}

/** How far a count is from the loss it is held against. */
const fit = (counted: number, lost: number): number => Math.abs(counted - lost) / lost;
