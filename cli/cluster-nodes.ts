import type { V1Node } from '@kubernetes/client-node';
import type { ShellPool } from '../nodes/shells/pool.ts';

/** All nodes of the cluster that is the inventory, as its API has them. */
export async function clusterNodes(shells: ShellPool): Promise<V1Node[]> {
  const [{ Reader, readNodes }, { config }] = await Promise.all([import('../cluster/index.ts'), shells.cluster()]);
  return readNodes(new Reader(config));
}

export const nodeNames = async (shells: ShellPool): Promise<string[]> =>
  (await clusterNodes(shells)).flatMap(({ metadata }) => metadata?.name ?? []);
