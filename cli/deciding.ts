import type { WorkflowHandle } from '@temporalio/client';
import { awaitRollout, findRunOrRollout } from '../client/rollouts.ts';
import { awaitPlan, progressOf } from '../client/plans.ts';
import { remediationOf } from '../client/runs.ts';
import { type Need, needsFor } from '../domain/approval.ts';
import { codeOf } from './following.ts';
import { UserError, exit, progress } from './output.ts';
import { followRemediation } from './remediating.ts';
import { printPlan, printRemediation } from './render/plan.ts';
import { printRollout, printRolloutEnd, rolloutLine } from './render/rollout.ts';
import { followRollout } from './rolling.ts';
import type { Session } from './session.ts';

/** Something that waits for people: the plan of a run, or a rollout. */
export interface Open {
  name: string;
  handle: WorkflowHandle;
  digest: string;
  needs: readonly Need[];
  show: () => void;
  /** Sees it through. @returns the exit code, and what `--json` prints */
  follow: (quiet: boolean) => Promise<{ code: number; result: object }>;
}

/** @throws UserError where nothing of this name waits for anybody */
export async function openBy(session: Session, text: string): Promise<Open> {
  const { name, rollout } = await findRunOrRollout(session, text);
  return rollout ? openRollout(session, name, rollout) : openPlan(session, name);
}

async function openRollout(session: Session, name: string, handle: WorkflowHandle): Promise<Open> {
  const now = await awaitRollout(handle, ({ phase, wave, rows }) => progress(rolloutLine(phase, wave, rows)));
  const { signed } = now;
  if ('outcome' in now) throw new UserError(`rollout ${name} is over: ${now.outcome}, ${now.says}`, exit.unchanged);
  if (!signed) throw new UserError(`rollout ${name} has no plan`, exit.unchanged);
  const needs = now.needs ?? needsFor(session.inventory.approval, signed.rollout.risk);
  return {
    name,
    handle,
    digest: signed.digest,
    needs,
    show: () => printRollout(signed, needs),
    follow: async (quiet) => {
      const result = await followRollout(handle, quiet);
      if (!quiet) printRolloutEnd(result);
      return { code: codeOf(result), result: { rollout: name, ...result } };
    },
  };
}

async function openPlan(session: Session, run: string): Promise<Open> {
  const known = await remediationOf(session, run);
  if (!known) throw new UserError(`run ${run} has no plan; \`undrop plan ${run}\` makes one`);
  if (known.failed !== undefined)
    throw new UserError(
      `run ${run} has no plan to decide on: ${known.failed}; \`undrop plan ${run}\` makes one`,
      exit.unchanged,
    );
  const handle = session.engine.client.workflow.getHandle(`remediate/${run}`);
  const signed = known.open
    ? await awaitPlan(handle, () => progress('  reading before-values …'))
    : known.result?.signed;
  if (!signed) throw new UserError(`run ${run} has no plan: ${known.result?.says ?? 'it ended'}`, exit.unchanged);
  if (!known.open)
    throw new UserError(`the plan of run ${run} is already ${known.result?.outcome ?? 'ended'}`, exit.unchanged);
  const { judged } = await progressOf(handle);
  return {
    name: run,
    handle,
    digest: signed.digest,
    // A policy may ask for other people than the inventory does.
    needs: judged?.people ?? needsFor(session.inventory.approval, signed.plan.risk),
    show: () => printPlan(signed),
    follow: async (quiet) => {
      const result = await followRemediation(session, handle, quiet);
      if (!quiet) printRemediation(result);
      return { code: codeOf(result), result: { run, ...result } };
    },
  };
}
