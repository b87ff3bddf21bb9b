import { nodesOf } from '../activities/cluster-nodes.ts';
import type { ShellPool } from '../nodes/shells/pool.ts';

/** Names of all nodes of the cluster that is the inventory. */
export const nodeNames = async (shells: ShellPool): Promise<string[]> =>
  (await nodesOf(await shells.cluster())).flatMap(({ metadata }) => metadata?.name ?? []);
