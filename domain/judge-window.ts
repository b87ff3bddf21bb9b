import { shown, template } from './cel.ts';
import { type Evidence, type Window, passiveStep } from './evidence.ts';
import { type Look, factsAt } from './facts/facts.ts';
import { focusOf } from './facts/moved.ts';
import { backgroundOf, closestLoss, count, elsewhere, keepsTime, packetsLost } from './judge-accounting.ts';
import { reasonOf, refutation, truth, unmet } from './judge-conditions.ts';
import { type Make, enough, negligible } from './judge-verdict.ts';
import type { Cause } from './runbook.ts';
import type { Place } from './target.ts';
import type { Verdict } from './verdict.ts';

/** A cause is proved when it explains `enough` of the loss, and at most this share: a counter that moved far more than was lost counts something else as well. */
const tooMuch = 1.25;

/** A quiet counter moves at most this share of the loss in the control window; a busier one needs coded probes. */
const quiet = 0.1;

/** Edges of watched windows are not sharp to the datagram. */
const few = 3;

/** Judges one cause at one place over one window, looked at one way. */
export function judgeWindow(
  cause: Cause,
  evidence: Evidence,
  window: Window,
  place: Place,
  { way }: Look,
  make: Make,
): Verdict {
  const { probe } = window;
  if (!probe) return make('untested', 'no probe');
  const back = way === 'back' && place.role === 'hop' ? { way } : {};
  const base = { step: window.step, lost: probe.lost, ...back };
  try {
    const look: Look = { ...(way && { way }), focus: focusOf(evidence, window, place) };
    const facts = factsAt(evidence, window, place, look);
    for (const need of cause.needs)
      if (!truth(need.that, facts)) return make('untested', template(need.says)(facts), base);
    const counter = template(cause.counter)(facts);
    const { refutedBy, doubt } = refutation(cause, facts, evidence, place);
    if (refutedBy !== undefined) return make('refuted', refutedBy, { ...base, counter });
    const counted = count(cause, facts);
    const background = backgroundOf(cause, evidence, window, place, look);
    const own = Math.max(0, counted - background);
    const against = closestLoss(cause, probe, own);
    const more = { ...base, lost: against, counted: Math.round(own), counter };
    const sum = `${counter} +${shown(own)} while ${shown(against)} of ${shown(probe.sent)} were lost (${window.step})`;
    const busy = background > quiet * against;
    // What was lost while edges were sampled, and the datagrams that were on their way.
    const slack = probe.watched ? Math.min(probe.watched.slack, 0.2 * against) + few : 0;
    // A Service spreads what is sent to it: each of its endpoints can account for its own share only.
    const together = own > 0 ? own + elsewhere(cause, evidence, window, place) : 0;
    const receivers = evidence.path.places.filter(({ role }) => role === 'receiver').length;
    const share =
      together > own &&
      together >= enough * against &&
      together <= tooMuch * against &&
      together - own < enough * against &&
      own >= (negligible * against) / receivers;
    // On a busy counter a difference near zero may be chance: only the counter itself standing still rules it out.
    if (!share && (busy ? counted : own) < negligible * against) return make('refuted', sum, more);
    const open = cause.prove
      .map((condition) => unmet(condition, facts, evidence, place))
      .find((why) => why !== undefined);
    const next = nextOf(cause, evidence);
    if (open) return make('suspected', `${sum}, but not shown: ${open}`, { ...more, ...next });
    // Coded probes are small and go to undrop's own listener: they cannot decide what only other steps meet.
    const code = cause.steps ? {} : { next: 'coded' };
    // Where the cause is proved by another step, this one's loss may well be its, too: see judgeCause.
    const likely = counted >= enough * against && doubt === undefined && !share;
    const among = likely ? { among: Math.round(counted), ...(beyond(own, background, against, packetsLost(evidence, probe, against)) && { beyond: true as const }) } : {}; // prettier-ignore
    if (busy)
      return make('suspected', `${sum}; other traffic moves it too (${shown(background)} in the same time)`, {
        ...more,
        ...code,
        ...among,
      });
    if (own < enough * against) {
      if (!share || doubt !== undefined)
        return make('suspected', `${sum}: it explains only a part`, { ...more, ...next });
      const says = `${sum}; with the other endpoints' it is ${shown(together)}`;
      return make('proved', says, { ...more, share: true });
    }
    if (own > tooMuch * (packetsLost(evidence, probe, against) + slack))
      return make('suspected', `${sum}: it moved more than was lost`, { ...more, ...code, ...among });
    if (window.step === passiveStep && !keepsTime(cause, evidence, place, look, against, slack))
      return make('suspected', `${sum}, but not at the same times: another loss of that size may be meant`, more);
    if (doubt !== undefined)
      return make('suspected', `${sum}, but it could not be ruled out: ${doubt}`, { ...more, ...next });
    const reasons = cause.prove.map((condition) => template(condition.says)(facts));
    return make('proved', [sum, ...reasons].join('; '), more);
  } catch (error) {
    return make('untested', reasonOf(error, evidence, place), base);
  }
}

/** Whether a busy counter moved by the loss more than its background does, and that is no chance: three standard deviations of as many independent datagrams. */
function beyond(own: number, background: number, lost: number, packets: number): boolean {
  const chance = 3 * Math.sqrt(background);
  return lost > chance && own >= enough * lost && own <= tooMuch * packets + chance;
}

/** The step that a suspicion asks for: the first of the cause's own that was not taken yet. */
function nextOf({ next }: Cause, { windows }: Evidence): { next?: string } {
  const step = [next?.step ?? []].flat().find((id) => !windows.some((window) => window.step === id));
  return step === undefined ? {} : { next: step };
}
