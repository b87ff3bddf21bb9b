import { expression } from '../domain/cel.ts';
import type { Evidence } from '../domain/evidence.ts';
import { factsAt } from '../domain/facts/facts.ts';
import { staleEntries } from '../domain/facts/stale.ts';
import { type Operation, forbidden } from '../domain/operation.ts';
import type { OperationTemplate, Remedy } from '../domain/runbook.ts';
import type { Place } from '../domain/target.ts';
import { featuresOf } from '../nodes/operations/guard.ts';
import { hopeless } from './deps.ts';
import type { Wanted } from './propose.ts';

type Read = (operations: readonly Operation[]) => Promise<string[]>;

/**
 * The operations of a remedy at one place, with before-values read now; those that would change nothing are left out.
 * @throws ApplicationFailure `Unreadable` where it cannot be used there, `Forbidden` where undrop may not do it
 */
export async function operationsOf(
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
