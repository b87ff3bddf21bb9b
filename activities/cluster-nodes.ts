import type { V1Node } from '@kubernetes/client-node';
import type { Cluster } from '../nodes/shells/kubernetes/cluster.ts';

/** All nodes of a cluster, as its API has them. */
export async function nodesOf({ config }: Pick<Cluster, 'config'>): Promise<V1Node[]> {
  const { Reader, readNodes } = await import('../cluster/index.ts');
  return readNodes(new Reader(config));
}
