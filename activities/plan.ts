import { ApplicationFailure } from '@temporalio/activity';
import { expression } from '../domain/cel.ts';
import { digestOf } from '../domain/digest.ts';
import { type Evidence, fullSample } from '../domain/evidence.ts';
import { factsAt } from '../domain/facts/facts.ts';
import type { Inventory } from '../domain/inventory.ts';
import { type Operation, forbidden, reversible } from '../domain/operation.ts';
import type { Plan, PlannedChange, SignedPlan } from '../domain/plan.ts';
import type { OperationTemplate, Remedy } from '../domain/runbook.ts';
import type { RemediateInput } from '../domain/runs.ts';
import { staleEntries } from '../domain/facts/stale.ts';
import { significant } from '../domain/statistics.ts';
import type { Judgement } from '../domain/remit.ts';
import type { Place } from '../domain/target.ts';
import type { Conclusion } from '../domain/verdict.ts';
import { featuresOf, readSettings } from '../nodes/operations/guard.ts';
import { located } from '../nodes/shells/locate.ts';
import { judgedBy } from './policy.ts';
import { type Deps, hopeless, loadEvidence, reachOf } from './deps.ts';

/** Time for a change beyond its prediction: arming, probing twice, confirming. */
const marginSeconds = 60;

interface Wanted {
  place: Place;
  cause: string;
  way?: 'back';
  /** The step in whose window the values are taken. */
  step: string;
}

/**
 * Makes the plan that a conclusion asks for, or the one that a person asked for, with before-values read now.
 * @returns a sentence instead where there is nothing to plan
 * @throws ApplicationFailure for an unknown remedy or place, and where an operation is not allowed
 */
export async function makePlan(
  deps: Deps,
  { diagnosis, override, requester }: RemediateInput,
): Promise<(SignedPlan & { judged?: Judgement }) | string> {
  const { inventory, runbook, shells, store } = deps;
  if (diagnosis.runbook !== runbook.digest)
    throw hopeless('the runbook was changed since the diagnosis; diagnose again', 'RunbookChanged');
  const evidence = await loadEvidence(store, diagnosis.path, diagnosis.evidence);
  const conclusion = await store.get<Conclusion>(diagnosis.conclusion);
  const lossy = conclusion.accounts.filter(({ lost }) => significant(lost));
  if (lossy.length === 0) return 'nothing was lost, so there is nothing to change';
  const chosen = override
    ? chosenBy(override, evidence, conclusion, lossy[0]?.step ?? '')
    : proposedBy(runbook.causes, evidence, conclusion);
  if (!chosen) return 'no remedy is known for what was proved';
  const places = chosen.at;
  const tried: string[] = [];
  let found: { remedy: Remedy; changes: PlannedChange[] } | undefined;
  for (const id of chosen.remedies) {
    const remedy = runbook.remedies.find((one) => one.id === id);
    if (!remedy) {
      const known = runbook.remedies.map((one) => one.id).join(', ');
      throw hopeless(`there is no remedy ${id}; there are: ${known}`, 'UnknownRemedy');
    }
    try {
      found = { remedy, changes: await changesBy(remedy) };
      break;
    } catch (error) {
      // What cannot be done here may have another remedy.
      if (!(error instanceof ApplicationFailure && error.type === 'Unreadable')) throw error;
      tried.push(`${id}: ${error.message}`);
    }
  }
  if (!found) throw hopeless(tried.join('; '), 'Unreadable');
  const { remedy, changes } = found;
  if (changes.length === 0) return `${remedy.id}: everything is already as the remedy would make it`;
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
    revertAfterSeconds: remedy.predict.withinSeconds + marginSeconds,
    risk: remedy.risk,
    cost: remedy.cost,
    owner: remedy.owner,
    lasts: remedy.lasts,
    ...(tried.length && { ruledOut: tried }),
    reversible: changes.every(({ operations }) => operations.every(reversible)),
    radius: radiusOf(
      inventory,
      evidence,
      chosen.at.map(({ place }) => place),
    ),
  };
  const { policy, judged } = await judgedBy(deps, plan);
  if (policy) plan.policy = policy;
  return { plan, digest: digestOf(plan), ...(judged && { judged }) };

  async function changesBy(wantedRemedy: Remedy): Promise<PlannedChange[]> {
    const all: PlannedChange[] = [];
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

type Read = (operations: readonly Operation[]) => Promise<string[]>;

async function operationsOf(
  remedy: Remedy,
  evidence: Evidence,
  { place, step, way }: Wanted,
  read: Read,
): Promise<Operation[]> {
  const window = evidence.windows.findLast((one) => one.step === step);
  if (!window) throw hopeless(`the step ${step} is not in the evidence`, 'NoEvidence');
  const facts = factsAt(evidence, window, place, way ? { way } : {});
  const value = (text: string): unknown => expression(text).evaluate(facts);
  const drafts = remedy.operations.flatMap((template) => drafted(template, evidence, place, value));
  const before = await read(drafts);
  const operations = drafts.flatMap((draft, index) => completed(draft, before[index] ?? 'unreadable', place.name));
  for (const operation of operations) {
    const why = forbidden(operation);
    if (why) throw hopeless(`${remedy.id} at ${place.name}: ${why}`, 'Forbidden');
  }
  return operations;
}

function drafted(
  template: OperationTemplate,
  evidence: Evidence,
  place: Place,
  value: (text: string) => unknown,
): Operation[] {
  switch (template.kind) {
    case 'sysctl.set': {
      let after = Math.round(Number(value(template.value)));
      // The kernel rounds the number of buckets up to whole pages of 512 (nf_ct_alloc_hashtable).
      if (template.key.endsWith('nf_conntrack_buckets')) after = Math.ceil(after / 512) * 512;
      return [{ kind: 'sysctl.set', key: template.key, before: 0, after }];
    }
    case 'offload.set': {
      const after = Object.fromEntries(
        Object.entries(template.features).map(([name, state]) => [name, state === 'on']),
      );
      return [{ kind: 'offload.set', device: String(value(template.device)), before: {}, after }];
    }
    case 'conntrack.evict':
      return [{ kind: 'conntrack.evict', destination: '', destinationPort: 0, entries: 0 }];
    case 'process.restart':
      return [{ kind: 'process.restart', name: template.name, before: '' }];
    case 'conntrack.delete':
      return staleEntries(evidence, place).map(({ source, sourcePort, destination, destinationPort, replySource }) => ({
        kind: 'conntrack.delete', source, sourcePort, destination, destinationPort, replySource,
      })); // prettier-ignore
  }
}

/** Puts the live value in; nothing where it is already as wanted. */
function completed(draft: Operation, live: string, place: string): Operation[] {
  if (draft.kind === 'conntrack.delete') return live === 'present' ? [draft] : [];
  if (draft.kind === 'conntrack.evict') return [evicted(live, place)];
  if (draft.kind === 'process.restart') {
    if (live !== 'absent') return [{ ...draft, before: live }];
    throw hopeless(
      `there is no process ${draft.name} at ${place}, so there is nothing to end; whoever supervises it must start it`,
      'Unreadable',
    );
  }
  const name = draft.kind === 'sysctl.set' ? draft.key : `the features of ${draft.device}`;
  if (live === 'unreadable')
    throw hopeless(`${name} cannot be read at ${place}; is the tool there, and the device?`, 'Unreadable');
  if (live.startsWith('readonly '))
    throw hopeless(`${name} cannot be set at ${place}: it is the whole kernel's, and belongs to its first network namespace`, 'Unreadable'); // prettier-ignore
  if (draft.kind === 'sysctl.set') {
    const before = Number(live);
    if (!Number.isInteger(before)) throw hopeless(`${name} at ${place} reads "${live}", not a number`, 'Unreadable');
    return before === draft.after ? [] : [{ ...draft, before }];
  }
  const before = featuresOf(live);
  for (const feature of Object.keys(draft.after))
    if (!(feature in before)) throw hopeless(`${draft.device} at ${place} cannot change ${feature}`, 'Unreadable');
  return Object.entries(draft.after).every(([feature, on]) => before[feature] === on) ? [] : [{ ...draft, before }];
}

/** From this share of the table on one destination's flows are what fills it. */
const fills = 0.5;

/** @param live `address,port,its entries,all entries`, as the guard reads the destination with the most */
function evicted(live: string, place: string): Operation {
  const [destination = '', port, own, all] = live.split(',');
  const [destinationPort, entries, total] = [Number(port), Number(own), Number(all)];
  if (!(entries >= fills * total))
    throw hopeless(
      total > 0
        ? `no one destination fills the table at ${place}: ${destination}:${port} has the most entries, ${own} of ${all}`
        : `no UDP flow is in the table at ${place}`,
      'Unreadable',
    );
  return { kind: 'conntrack.evict', destination, destinationPort, entries };
}

/** What else lives there: tracked flows (null where the table cannot be read) and Services with an endpoint on the node. */
function radiusOf(inventory: Inventory, evidence: Evidence, places: Place[]): Plan['radius'] {
  const counts = places.map(({ name }) => fullSample(evidence, name)?.gauges['nf_conntrack_count']);
  const flows = counts.includes(undefined) ? null : counts.reduce<number>((sum, one) => sum + (one ?? 0), 0);
  const nodes = new Set(places.map(({ node }) => node));
  const there = new Set([
    ...Object.values(inventory.pods).flatMap(({ node, address }) => (nodes.has(node) ? [address] : [])),
    ...[...nodes].flatMap((node) => inventory.nodes[node]?.address ?? []),
  ]);
  const services = Object.entries(inventory.services).flatMap(([name, { endpoints }]) =>
    endpoints.some(({ address }) => there.has(address)) ? [name] : [],
  );
  // The inventory of a cluster lists no Services: which of them live there is not known.
  return { flows, services, ...(inventory.kubernetes && { unknownServices: true as const }) };
}
