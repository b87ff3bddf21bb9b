import type { Place } from '../../domain/target.ts';
import { type Shell, run } from './shell.ts';

const deadlineMs = 5_000;

/**
 * A pod's place with the id of one of its processes on its node, by which its network namespace is entered. Other places
 * are as they are. Ask anew for each run: a pod's processes may end, and their ids be given to others.
 * @throws Error when the node does not answer or runs no such pod
 */
export async function located(shell: Shell, place: Place): Promise<Place> {
  if (place.uid === undefined || place.address === place.nodeAddress) return place;
  // Kubelets write a pod's uid into the names of its cgroups, with dashes or with underscores.
  const pattern = `pod${place.uid.replaceAll('-', '[-_]')}`;
  const script = 'grep -lE "$1" /proc/[0-9]*/cgroup 2>/dev/null | head -n 1';
  const outcome = await run(shell, { argv: ['sh', '-c', script, 'sh', pattern], deadlineMs });
  if (outcome.kind !== 'exited') throw new Error(`${place.name}: ${place.node}: ${outcome.why}`);
  const pid = Number(/^\/proc\/(\d+)\//.exec(outcome.stdout)?.[1] ?? 0);
  if (!pid) throw new Error(`${place.name}: ${place.node} runs no process of this pod`);
  return { ...place, pid };
}
