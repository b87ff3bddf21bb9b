import { ApplicationFailure } from '@temporalio/activity';
import { digestOf } from '../domain/digest.ts';
import type { Evidence } from '../domain/evidence.ts';
import { type Operation, reversible } from '../domain/operation.ts';
import type { Plan, PlannedChange, SignedPlan } from '../domain/plan.ts';
import type { Proposal } from '../domain/proposal.ts';
import type { Remedy } from '../domain/runbook.ts';
import type { RemediateInput } from '../domain/runs.ts';
import { significant } from '../domain/statistics.ts';
import type { Judgement } from '../domain/remit.ts';
import type { Conclusion } from '../domain/verdict.ts';
import { readSettings } from '../nodes/operations/guard.ts';
import { located } from '../nodes/shells/locate.ts';
import { judgedBy } from './policy.ts';
import { type Deps, hopeless, loadEvidence, reachOf } from './deps.ts';
import { operationsOf } from './operations.ts';
import { type Wanted, proposalsOf } from './propose.ts';
import { radiusOf } from './radius.ts';

/** Time for a change beyond its prediction: arming, probing twice, confirming. */
const marginSeconds = 60;
/** And for probing once more after the soak, here and at an untouched node. */
const soakMarginSeconds = 60;

/** A plan, or why there is none; with what only others can change. */
export interface Made {
  /** What the inventory's auto-remediation policy says of it, where there is one. */
  judged?: Judgement;
  signed?: SignedPlan;
  says?: string;
  proposals?: Proposal[];
}

/**
 * Makes the plan that a conclusion asks for, or the one that a person asked for, with before-values read now.
 * @param soakSeconds so long the change must go on helping before it is confirmed
 * @returns a sentence instead where there is nothing to plan, and proposals where only others can change something
 * @throws ApplicationFailure for an unknown remedy or place, and where an operation is not allowed
 */
export async function makePlan(
  deps: Deps,
  { diagnosis, override, requester }: Pick<RemediateInput, 'diagnosis' | 'override' | 'requester'>,
  soakSeconds?: number,
): Promise<Made> {
  const { inventory, runbook, shells, store } = deps;
  if (diagnosis.runbook !== runbook.digest)
    throw hopeless('the runbook was changed since the diagnosis; diagnose again', 'RunbookChanged');
  const evidence = await loadEvidence(store, diagnosis.path, diagnosis.evidence);
  const conclusion = await store.get<Conclusion>(diagnosis.conclusion);
  if (conclusion.passive)
    return {
      says: 'the diagnosis sent nothing, and a change is measured by probes before and after: diagnose again without --passive',
    };
  const lossy = conclusion.accounts.filter(({ lost }) => significant(lost));
  if (lossy.length === 0) return { says: 'nothing was lost, so there is nothing to change' };
  const chosen = override
    ? chosenBy(override, evidence, conclusion, lossy[0]?.step ?? '')
    : proposedBy(runbook.causes, evidence, conclusion);
  if (!chosen) return { says: 'no remedy is known for what was proved' };
  const places = chosen.at;
  const tried: string[] = [];
  const asked: Remedy[] = [];
  let found: { remedy: Remedy; changes: PlannedChange[] } | undefined;
  for (const id of chosen.remedies) {
    const remedy = runbook.remedies.find((one) => one.id === id);
    if (!remedy) {
      const known = runbook.remedies.map((one) => one.id).join(', ');
      throw hopeless(`there is no remedy ${id}; there are: ${known}`, 'UnknownRemedy');
    }
    asked.push(remedy);
    try {
      found = { remedy, changes: await changesBy(remedy) };
      break;
    } catch (error) {
      // What cannot be done here may have another remedy.
      if (!(error instanceof ApplicationFailure && error.type === 'Unreadable')) throw error;
      tried.push(`${id}: ${error.message}`);
    }
  }
  // What undrop cannot do here, such as raise a limit, its owner still can, and only there it lasts.
  const proposals = await proposalsOf(deps, asked, evidence, places);
  if (!found && proposals.length === 0) throw hopeless(tried.join('; '), 'Unreadable');
  if (!found || found.changes.length === 0) return { says: whyNothing(found?.remedy, tried, proposals), proposals };
  const { remedy, changes } = found;
  const proves = conclusion.roots.filter(({ cause }) => chosen.at.some((one) => one.cause === cause));
  const steps = new Set(proves.flatMap((root) => root.proves.map(({ step }) => step)));
  const plan: Plan = {
    run: diagnosis.run,
    target: diagnosis.path.text,
    inventory: inventory.name,
    requester,
    expiresAt: Date.now() + inventory.approval.expiresMinutes * 60_000,
    runbook: runbook.digest,
    evidence: digestOf(diagnosis.evidence),
    remedy: remedy.id,
    title: remedy.title,
    changes,
    verify: lossy
      .filter(({ step }) => steps.size === 0 || steps.has(step))
      .map(({ step, sent, lost }) => ({ step, sent, lost })),
    predict: remedy.predict.says,
    withinSeconds: remedy.predict.withinSeconds,
    ...(soakSeconds !== undefined && { soakSeconds }),
    revertAfterSeconds:
      remedy.predict.withinSeconds + marginSeconds + (soakSeconds === undefined ? 0 : soakSeconds + soakMarginSeconds),
    risk: remedy.risk,
    cost: remedy.cost,
    owner: remedy.owner,
    lasts: remedy.lasts,
    ...(tried.length && { ruledOut: tried }),
    ...(proposals.length && { proposals }),
    reversible: changes.every(({ operations }) => operations.every(reversible)),
    radius: await radiusOf(deps, evidence, changes),
  };
  const { policy, judged } = await judgedBy(deps, plan);
  if (policy) plan.policy = policy;
  return { signed: { plan, digest: digestOf(plan) }, ...(judged && { judged }) };

  async function changesBy(wantedRemedy: Remedy): Promise<PlannedChange[]> {
    const all: PlannedChange[] = [];
    if (wantedRemedy.operations.length === 0) return all;
    for (const wanted of places) {
      // What may not be changed from here is to be known before anybody approves it.
      const shell = shells.changing(wanted.place.node);
      const site = { shell, place: await located(shell, wanted.place) };
      const read = (operations: readonly Operation[]): Promise<string[]> => readSettings(site, operations);
      const operations = await operationsOf(wantedRemedy, evidence, wanted, read);
      if (operations.length)
        all.push({
          place: wanted.place.name,
          node: wanted.place.node,
          reach: reachOf(inventory, wanted.place),
          cause: wanted.cause,
          ...wayOf(wanted),
          operations,
        });
    }
    return all;
  }
}

function whyNothing(remedy: Remedy | undefined, tried: string[], proposals: Proposal[]): string {
  const others = proposals.length === 1 ? 'one change is' : `${proposals.length} changes are`;
  const proposed = `${others} proposed to those who own what has to change`;
  if (!remedy) return `nothing can be changed from here (${tried.join('; ')}); ${proposed}`;
  const done = `${remedy.id}: everything is already as the remedy would make it`;
  if (proposals.length === 0) return done;
  return remedy.operations.length > 0 ? `${done}; ${proposed}` : `undrop changes nothing for this; ${proposed}`;
}

interface Chosen {
  /** The first that can be used here. */
  remedies: string[];
  at: Wanted[];
}

function chosenBy(
  { remedy, place: name }: { remedy: string; place: string },
  evidence: Evidence,
  conclusion: Conclusion,
  step: string,
): Chosen {
  const place = evidence.path.places.find((one) => one.name === name);
  if (!place) {
    const known = evidence.path.places.map((one) => one.name).join(', ');
    throw hopeless(`${name} is not on the path; its places are: ${known}`, 'UnknownPlace');
  }
  const root = conclusion.roots.find((one) => one.place === name);
  return { remedies: [remedy], at: [{ place, cause: root?.cause ?? '', step: root?.step ?? step, ...wayOf(root) }] };
}

/** The first proved cause that has a remedy, at all the places where it was proved. */
function proposedBy(causes: Deps['runbook']['causes'], evidence: Evidence, conclusion: Conclusion): Chosen | undefined {
  for (const root of conclusion.roots) {
    const remedies = causes.find(({ id }) => id === root.cause)?.remedies ?? [];
    if (remedies.length === 0) continue;
    const at = conclusion.roots.flatMap((one) => {
      const place = evidence.path.places.find(({ name }) => name === one.place);
      return place && one.cause === root.cause ? [{ place, cause: one.cause, step: one.step, ...wayOf(one) }] : [];
    });
    return { remedies, at };
  }
  return undefined;
}

const wayOf = (one: { way?: 'back' } | undefined): { way?: 'back' } => (one?.way ? { way: one.way } : {});
