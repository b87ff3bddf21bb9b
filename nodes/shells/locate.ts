import type { Place } from '../../domain/target.ts';
import { type Shell, run } from './shell.ts';

const deadlineMs = 5_000;

/**
 * The first process of each container. A container may have cgroups below its own, and the first word of its cgroup's name
 * below the pod's is its own.
 */
const script = `grep -sE "$1" /proc/[0-9]*/cgroup | awk -F: -v pod="$1" '{
  container = match($NF, pod "[^/]*/[^/]+") ? substr($NF, RSTART, RLENGTH) : ""
  if (!seen[container]++) { split($1, path, "/"); print path[3] }
}'`;

/**
 * A pod's place with the ids of processes of its on its node: by one its network namespace is entered. Other places are as
 * they are. Ask anew for each run: a pod's processes may end, and their ids be given to others.
 * @throws Error when the node does not answer or runs no such pod
 */
export async function located(shell: Shell, place: Place): Promise<Place> {
  if (place.uid === undefined || place.address === place.nodeAddress) return place;
  // Kubelets write a pod's uid into the names of its cgroups, with dashes or with underscores.
  const pattern = `pod${place.uid.replaceAll('-', '[-_]')}`;
  const outcome = await run(shell, { argv: ['sh', '-c', script, 'sh', pattern], deadlineMs });
  if (outcome.kind !== 'exited') throw new Error(`${place.name}: ${place.node}: ${outcome.why}`);
  const containers = outcome.stdout.split('\n').flatMap((line) => (/^\d+$/.test(line) ? [Number(line)] : []));
  const [pid] = containers;
  if (pid === undefined) throw new Error(`${place.name}: ${place.node} runs no process of this pod`);
  return { ...place, pid, containers };
}
