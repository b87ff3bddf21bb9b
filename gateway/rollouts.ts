import type { WorkflowHandle } from '@temporalio/client';
import { UserError } from '../client/errors.ts';
import { type KnownRollout, checkDigests, rolloutNamed, rolloutNow } from '../client/rollouts.ts';
import { type RolloutProgress, type RolloutResult, type RolloutRow, type SignedRollout, mostTargets, tally, targetsText, toneOf } from '../domain/rollout.ts'; // prettier-ignore
import { answerMs } from './asking.ts';
import type { Gateway } from './gateway.ts';
import { type Asked, type Decidable, changeLines, decisionLine, readBack, shown } from './view.ts';

/** One target as the page shows it. */
interface TargetLine extends Pick<RolloutRow, 'target' | 'wave' | 'state' | 'says'> {
  tone: ReturnType<typeof toneOf>;
  /** Its diagnosis; of those that the plan left out none. */
  run?: string;
}

interface RolloutPage extends Asked {
  rollout: string;
  /** Its targets in few words. */
  about: string;
  state: string;
  says?: string;
  /** How many of its targets are in which state. */
  tally: string;
  rows: TargetLine[];
  /** What was measured and read back, a line each. */
  measured: string[];
  /** All that its workflow tells; undefined where no worker answers, or it failed. */
  now?: RolloutProgress | RolloutResult;
}

/** All that there is to see of a rollout; undefined where there is none of this inventory. */
export async function rolloutPage(gateway: Gateway, rollout: string): Promise<RolloutPage | undefined> {
  const found = await rolloutNamed(gateway, rollout);
  if (!found) return undefined;
  const { known, handle } = found;
  const path = `/rollouts/${rollout}`;
  const base: RolloutPage = {
    rollout, path, workflowId: handle.workflowId, targets: known.targets, about: targetsText(known.targets), state: known.state,
    tally: '', rows: [], measured: [], moving: known.status === 'running',
  }; // prettier-ignore
  const now = await told(gateway, handle, known);
  if (typeof now === 'string') return { ...base, says: now };
  const { signed, rows } = now;
  const plan = signed && decidable(gateway, signed, now);
  // What it works on decides who may: a note at its start may be older, or somebody else's.
  const targets = rows.map(({ target }) => target);
  return {
    ...base,
    now,
    targets,
    about: targetsText(targets),
    state: 'outcome' in now ? now.outcome : `${now.wave === undefined ? '' : `wave ${now.wave}, `}${now.phase}`,
    ...('outcome' in now && !signed && { says: now.says }),
    tally: tally(rows),
    rows: rows.map((row) => lineOf(row, signed)).toSorted((one, other) => (one.wave ?? mostTargets) - (other.wave ?? mostTargets)),
    measured: rows.flatMap(measuredLines),
    ...(plan && { plan }),
    moving: !('outcome' in now) && !plan?.waits,
  }; // prettier-ignore
}

function decidable({ inventory }: Gateway, signed: SignedRollout, now: RolloutProgress | RolloutResult): Decidable {
  return {
    ...shown(signed, inventory, now.needs),
    recorded: now.decisions,
    decisions: now.decisions.map(decisionLine),
    stages: [],
    waits: 'phase' in now && now.phase === 'waiting for approval',
    ...('outcome' in now && { outcome: now.outcome, ended: now.says, good: toneOf(now.outcome) === 'good' }),
  };
}

function lineOf({ target, wave, state, says }: RolloutRow, signed: SignedRollout | undefined): TargetLine {
  const run = signed?.rollout.waves.flat().find((part) => part.target === target)?.plan.run;
  return { target, ...(wave !== undefined && { wave }), state, says, tone: toneOf(state), ...(run && { run }) };
}

/** @returns how it stands, or why that is not known */
async function told(
  { engine }: Gateway,
  handle: WorkflowHandle,
  { status }: KnownRollout,
): Promise<RolloutProgress | RolloutResult | string> {
  try {
    const now = await engine.client.withDeadline(Date.now() + answerMs, async () => rolloutNow(handle));
    checkDigests(now);
    return now;
  } catch (error) {
    if (error instanceof UserError) return error.message;
    if (status === 'running') return 'no worker answers';
    throw error;
  }
}

/** What was measured at a target, and what was read back when it was put back after all. */
const measuredLines = ({ changes, undone }: RolloutRow): string[] => [
  ...changes.flatMap(changeLines),
  ...(undone ?? []).flatMap(({ place, state, proof }) => [
    `${place}: put back, ${state}`,
    ...proof.map((line) => readBack(place, line)),
  ]),
];
