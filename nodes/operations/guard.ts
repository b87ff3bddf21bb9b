import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Operation } from '../../domain/operation.ts';
import type { Place } from '../../domain/target.ts';
import { type Shell, run } from '../shells/shell.ts';

const script = readFileSync(new URL('guard.sh', import.meta.url), 'utf8');
const deadlineMs = 15_000;

/** The node refused: nothing was done by this call. The message is the node's reason. */
export class Refused extends Error {}
/** The call may or may not have taken effect, or could not be made: to be asked again, since the node knows what it did. */
export class Unsettled extends Error {}

/** Where a change happens: a network namespace of a node, reached through its shell. */
export interface Site {
  shell: Shell;
  place: Pick<Place, 'name' | 'netns' | 'pid'>;
}

export interface Change {
  /** Unique; also the journal's name on the node. */
  id: string;
  /** The run that may act on it: the node refuses every other. */
  token: string;
}

/** A setting's name in the guard's five kinds. */
function named(operation: Operation): [kind: string, name: string] {
  switch (operation.kind) {
    case 'sysctl.set':
      return ['sysctl', operation.key];
    case 'offload.set':
      return ['offload', operation.device];
    case 'conntrack.delete': {
      const { source, sourcePort, destination, destinationPort, replySource } = operation;
      return ['conntrack', [source, sourcePort, destination, destinationPort, replySource].join(',')];
    }
    case 'process.restart':
      return ['process', operation.name];
    case 'conntrack.evict':
      return ['flows', operation.destination ? `${operation.destination},${operation.destinationPort}` : 'top'];
  }
}

const listed = (features: Record<string, boolean>): string =>
  Object.entries(features)
    .map(([name, on]) => `${name}=${on ? 'on' : 'off'}`)
    .join(',');

function values(operation: Operation): [before: string, after: string] {
  if (operation.kind === 'sysctl.set') return [String(operation.before), String(operation.after)];
  if (operation.kind === 'offload.set') return [listed(operation.before), listed(operation.after)];
  if (operation.kind === 'process.restart') return [operation.before, `not:${operation.before}`];
  return ['present', 'absent'];
}

export function featuresOf(value: string): Record<string, boolean> {
  return Object.fromEntries(
    value.split(',').map((pair) => [pair.slice(0, pair.lastIndexOf('=')), pair.endsWith('=on')] as const),
  );
}

/** The current values of operations' settings as the node shows them; `unreadable` where there is none. */
export async function readSettings(site: Site, operations: readonly Operation[]): Promise<string[]> {
  const lines = await ask(site, ['read', ...operations.flatMap(named)]);
  return lines.map((line) => line.replace(/^value /, ''));
}

/** Stores the before-values on the node, checks them, takes its lock and starts its timer. Returns the timer's deadline. */
export async function arm(
  site: Site,
  change: Change,
  seconds: number,
  operations: readonly Operation[],
): Promise<string> {
  const words = operations.flatMap((operation) => [...named(operation), ...values(operation)]);
  const [line = ''] = await ask(site, ['arm', change.id, change.token, String(seconds), ...words]);
  return line.replace(/^armed /, '');
}

/**
 * Applies one operation, once: a repeated call finds that it is done. Returns the value read back, the last one's of several.
 * @param last up to this one in one round trip; left out: only the one
 */
export async function apply(
  site: Site,
  change: Change,
  index: number,
  last = index,
): Promise<{ again: boolean; value: string }> {
  const lines = await ask(site, ['apply', change.id, change.token, String(index), String(last)]);
  const line = lines.at(-1) ?? '';
  return { again: line.startsWith('already'), value: line.split(' ').slice(2).join(' ') };
}

export async function confirm(site: Site, change: Change): Promise<void> {
  await ask(site, ['confirm', change.id, change.token]);
}

export interface Reverted {
  /** `conflict`: somebody else changed a value since, which was left alone. `stuck`: a value would not go back. */
  state: string;
  /** One line per operation, with the value read back. */
  proof: string[];
}

/** Puts every value back and proves it by reading. @param confirmed also undo a change that was confirmed */
export async function revert(site: Site, change: Change, confirmed = false): Promise<Reverted> {
  const lines = await ask(site, [confirmed ? 'rollback' : 'revert', change.id, change.token]);
  return { state: lines.at(-1)?.replace(/^state /, '') ?? '', proof: lines.slice(0, -1) };
}

export async function status(site: Site, id: string): Promise<{ state: string; journal: string[] }> {
  const lines = await ask(site, ['status', id]);
  return {
    state: lines[0]?.replace(/^state /, '') ?? 'none',
    journal: lines.filter((line) => line.startsWith('journal ')).map((line) => line.slice(8)),
  };
}

/** A change that has a journal on a node. */
export interface Journal {
  id: string;
  state: string;
  /** When the node reverts by itself, if nobody confirms or reverts before. */
  deadline: string;
}

/** All changes of a node, whatever became of who made them. @throws Unsettled when the node cannot be asked */
export async function journals(site: Site): Promise<Journal[]> {
  const lines = await ask(site, ['list']);
  return lines.map((line) => {
    const [, id = '', state = '', deadline = ''] = line.split(' ');
    return { id, state, deadline };
  });
}

const plainName = /^[A-Za-z0-9][A-Za-z0-9.-]{0,199}$/;

async function ask({ shell, place }: Site, words: string[]): Promise<string[]> {
  const reading = words[0] === 'read' || words[0] === 'list';
  // The change's id becomes a folder's name on the node.
  if (!reading && !plainName.test(words[1] ?? '')) throw new Refused(`"${words[1]}" is no name of a change`);
  const end = `END-${randomBytes(8).toString('hex')}`;
  // The guard is laid down beside its journal, so that the node's timer can run it when nobody else is there any more.
  // Two attempts may come at once, so each writes a file of its own.
  const stage = `umask 077; d=/run/undrop/$2; mkdir -p "$d" && cat >"$d/guard.$$" <<'${end}' && mv "$d/guard.$$" "$d/guard.sh" && exec sh "$d/guard.sh" "$@"\n${script}\n${end}\n`;
  const outcome = await run(
    shell,
    {
      argv: ['sh', '-s', '--', ...words],
      deadlineMs,
      ...(place.netns !== undefined && { netns: place.netns }),
      ...(place.pid !== undefined && { pid: place.pid }),
    },
    reading ? script : stage,
  );
  if (outcome.kind !== 'exited') throw new Unsettled(`${place.name}: ${outcome.why}`);
  const lines = outcome.stdout.split('\n').filter((line) => line !== '');
  const refusal = lines.find((line) => line.startsWith('refused '));
  if (refusal) throw new Refused(`${place.name}: ${refusal.slice('refused '.length)}`);
  if (outcome.code !== 0)
    throw new Unsettled(
      `${place.name}: ${lines.find((line) => line.startsWith('busy ')) ?? ''}the guard ended with status ${outcome.code}: ${outcome.stderr.trim().slice(0, 200)}`,
    );
  return lines;
}
