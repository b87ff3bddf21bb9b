import { type Evidence, isPassive, lengthOf, watchedWindow } from './evidence.ts';
import { shown } from './cel.ts';
import { addsUp, judgeCause } from './judge.ts';
import { addProbes } from './probe-result.ts';
import { flowName } from './watched.ts';
import type { Runbook } from './runbook.ts';
import { significant, wilson } from './statistics.ts';
import { type Account, type Conclusion, type Verdict, openLoss } from './verdict.ts';

/**
 * Judges all causes of a runbook at all their places and concludes. The same evidence and runbook always give the same
 * conclusion: nothing here reads a clock, a file or a node.
 */
export function conclude(runbook: Runbook, evidence: Evidence): Conclusion {
  const order = new Map(runbook.methodology.families.map((family, index) => [family, index]));
  const causes = runbook.causes.toSorted((a, b) => (order.get(a.family) ?? 99) - (order.get(b.family) ?? 99));
  const verdicts = causes.flatMap((cause) =>
    evidence.path.places
      .filter((place) => cause.at.includes(place.role))
      .map((place) => judgeCause(cause, evidence, place)),
  );
  const proved = verdicts.filter(({ kind }) => kind === 'proved');
  const causeOf = new Map(causes.map((cause) => [cause.id, cause]));
  for (const verdict of proved) {
    const source = causeOf.get(verdict.cause)?.effectOf.find((id) => proved.some(({ cause }) => cause === id));
    if (source) verdict.effectOf = source;
  }
  const faults = proved.filter(({ cause, effectOf }) => !causeOf.get(cause)?.condition && effectOf === undefined);
  for (const verdict of proved.filter(({ cause }) => causeOf.get(cause)?.condition)) {
    const steps = verdict.proves.map(({ step }) => step);
    const fault = faults.find(({ proves }) => proves.some(({ step }) => steps.includes(step)));
    if (fault) verdict.effectOf = fault.cause;
  }
  const accounts = accountsOf(evidence, proved);
  const unseen = unseenPlaces(evidence);
  const roots = proved.filter(({ effectOf }) => effectOf === undefined);
  const lossy = accounts.filter(({ lost }) => significant(lost));
  const open = lossy.filter((account) => openLoss(account) > 0);
  const rest = { verdicts, accounts, roots, unseen, ...(isPassive(evidence) && { passive: true as const }) };
  if (lossy.length === 0) return { ...littleLoss(evidence, accounts), ...rest };
  // An unexplained loss needs a next step, and so does a root that may be the effect of something still suspected.
  const next = nextStep(
    runbook,
    evidence,
    verdicts,
    (suspect) => open.length > 0 || producesRoot(runbook, roots, suspect),
  );
  const more = { ...rest, ...(next && { next }) };
  if (roots.length === 0)
    return {
      kind: 'inconclusive',
      says: `no cause accounts for the loss${elsewhere(evidence)}${watchedSays(evidence)}`,
      ...more,
    };
  const says = roots.map((root) => `${root.cause} at ${root.place}`).join(' and ');
  if (open.length > 0)
    return {
      kind: 'partly',
      says: `${says}; not explained: ${open.map(({ step }) => step).join(', ')}${elsewhere(evidence)}${watchedSays(evidence)}`,
      ...more,
    };
  return { kind: 'explained', says, ...more };
}

/** The sum that every report prints: what each step lost, and which counter at which place accounts for it. */
function accountsOf(evidence: Evidence, proved: Verdict[]): Account[] {
  const steps = [...new Set(evidence.windows.flatMap(({ step, probe }) => (probe ? [step] : [])))];
  return steps.map((step) => {
    const probe = addProbes(
      evidence.windows.flatMap((window) => (window.step === step && window.probe ? [window.probe] : [])),
    );
    const explained = proved.flatMap(({ cause, place, counter, proves }) =>
      proves.flatMap((one) =>
        one.step === step
          ? [
              {
                cause,
                place,
                counter,
                counted: one.counted,
                lost: one.lost,
                ...(one.share && { share: true as const }),
                ...(one.among !== undefined && { among: one.among }),
              },
            ]
          : [],
      ),
    );
    const { sent, lost, requestLost, replyLost, oneWay } = probe;
    return { step, sent, lost, requestLost, replyLost, oneWay, explained };
  });
}

/** No step lost three or more. That is no loss only where something was sent, and where the steps together say so too. */
function littleLoss(evidence: Evidence, accounts: Account[]): Pick<Conclusion, 'kind' | 'says'> {
  const sent = accounts.reduce((sum, one) => sum + one.sent, 0);
  const lost = accounts.reduce((sum, one) => sum + one.lost, 0);
  if (sent === 0) return { kind: 'inconclusive', says: isPassive(evidence) ? nothingSeen(evidence) : 'nothing could be sent' }; // prettier-ignore
  if (addsUp(lost, sent))
    return {
      kind: 'inconclusive',
      says: `${lost} of ${shown(sent)} lost in all, but never three in one step: too few to hold a counter against`,
    };
  const { high } = wilson(lost, sent);
  const says = `${lost} of ${shown(sent)} lost now: less than ${(high * 100).toFixed(2)} % (95 %)`;
  return { kind: 'no-loss', says: `${says}${watchedSays(evidence)}` };
}

/** No traffic is no health: where and for how long it was looked for. */
function nothingSeen(evidence: Evidence): string {
  const window = watchedWindow(evidence);
  if (!window) return 'the traffic could not be watched';
  const { text, places } = evidence.path;
  const seconds = (lengthOf(window) / 1000).toFixed(1);
  return `no datagram of ${text} was seen in ${seconds} s at ${places[0]?.name ?? 'its sender'}${watchedSays(evidence)}`;
}

/** What watched traffic tells beyond its sums: flows of which all is lost, what drew no answer, what could not be compared. */
function watchedSays(evidence: Evidence): string {
  const watched = watchedWindow(evidence)?.probe?.watched;
  if (!watched) return '';
  const { flows, others, silent, leftOut } = watched;
  const dead = flows.filter(({ sent, lost }) => significant(lost) && lost === sent);
  const alive = flows.filter((flow) => !dead.includes(flow));
  const sent = alive.reduce((sum, flow) => sum + flow.sent, others.sent);
  const lost = alive.reduce((sum, flow) => sum + flow.lost, others.lost);
  const rest = sent > 0 ? `, others ${shown(lost)} of ${shown(sent)}` : '';
  const first = dead[0] ? ` (such as ${flowName(dead[0])})` : '';
  return [
    dead.length > 0 ? `; ${dead.length} of ${flows.length + others.flows} flows lose everything${first}${rest}` : '',
    significant(silent)
      ? `; ${shown(silent)} that came to the receiver drew no answer, and nothing there counts a loss`
      : '',
    ...Object.entries(leftOut).map(([why, count]) => (count > 0 ? `; ${shown(count)} not compared: ${why}` : '')),
  ].join('');
}

/**
 * Answers that no counter on the way knows for lost: from another address than was asked, which most clients drop, and those
 * of a DNS server that it cannot answer.
 */
function elsewhere({ windows }: Evidence): string {
  const failed = windows.reduce((sum, { probe }) => sum + (probe?.servfail ?? 0), 0);
  const strange = windows.filter(({ probe }) => significant(probe?.strange ?? 0));
  const answers = strange.reduce((sum, { probe }) => sum + (probe?.strange ?? 0), 0);
  const steps = [...new Set(strange.map(({ step }) => step))].join(', ');
  return [
    answers === 0 ? '' : `; ${shown(answers)} answers came from another address than was asked (${steps})`,
    failed === 0 ? '' : `; ${shown(failed)} answers say that the DNS server failed (SERVFAIL)`,
  ].join('');
}

/** The one next step: what a suspicion asks for and was not taken yet, the strongest suspicion first. */
function nextStep(
  runbook: Runbook,
  evidence: Evidence,
  verdicts: Verdict[],
  matters: (suspect: Verdict) => boolean,
): { step: string; why: string } | undefined {
  const taken = new Set(evidence.windows.map(({ step }) => step));
  const suspicions = verdicts
    .filter((verdict) => verdict.kind === 'suspected' && matters(verdict))
    .filter(({ next }) => next !== undefined && !taken.has(next))
    .toSorted((a, b) => Math.abs(a.counted / a.lost - 1) - Math.abs(b.counted / b.lost - 1));
  for (const suspicion of suspicions) {
    const cause = runbook.causes.find(({ id }) => id === suspicion.cause);
    const why =
      suspicion.next === 'coded' ? 'tells our loss from other traffic in the same counter' : (cause?.next?.why ?? '');
    if (suspicion.next && runbook.methodology.steps.some(({ id }) => id === suspicion.next))
      return { step: suspicion.next, why: `${suspicion.cause} at ${suspicion.place}: ${why}` };
  }
  return undefined;
}

/** Whether a suspected cause would turn a proved root into its effect. */
function producesRoot(runbook: Runbook, roots: Verdict[], suspect: Verdict): boolean {
  return roots.some((root) => runbook.causes.find(({ id }) => id === root.cause)?.effectOf.includes(suspect.cause));
}

function unseenPlaces(evidence: Evidence): Record<string, string> {
  const unseen: Record<string, string> = {};
  // What the account may not read is not what is not there.
  for (const [what, why] of Object.entries(evidence.windows[0]?.before.cluster?.denied ?? {})) unseen[what] = why;
  for (const window of evidence.windows)
    for (const [place, why] of Object.entries({ ...window.before.failed, ...window.after.failed })) unseen[place] = why;
  return unseen;
}
