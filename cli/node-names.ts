import type { ShellPool } from '../nodes/shells/pool.ts';

/** Names of all nodes of the cluster that is the inventory. */
export async function clusterNodes(shells: ShellPool): Promise<string[]> {
  const [{ Reader, readNodes }, { config }] = await Promise.all([import('../cluster/index.ts'), shells.cluster()]);
  return (await readNodes(new Reader(config))).flatMap(({ metadata }) => metadata?.name ?? []);
}
