import type { ClusterView } from '../domain/cluster.ts';
import { parseTarget } from '../domain/cluster-target.ts';
import { type Path, TargetError, resolveTarget } from '../domain/target.ts';
import type { Cluster } from '../nodes/shells/kubernetes/cluster.ts';
import type { ShellPool } from '../nodes/shells/pool.ts';
import type { Deps } from './deps.ts';
import { hopeless } from './deps.ts';

export interface ResolvedTarget {
  path: Path;
  /** What the API says of the target, where the inventory is a cluster. */
  view?: ClusterView;
}

/**
 * The path of a target FROM->TO, by this worker's own inventory or by the cluster that is it.
 * @param run names the pod that is made where the target says undrop/NODE
 * @throws ApplicationFailure that no retry can mend when there is no such target; Error when the API does not answer
 */
export async function resolved(
  { inventory, shells }: Pick<Deps, 'inventory' | 'shells'>,
  text: string,
  run: string,
): Promise<ResolvedTarget> {
  try {
    if (!inventory.kubernetes) return { path: resolveTarget(inventory, text) };
    const { from, to } = parseTarget(text);
    if (!from) throw new TargetError(`"${text}" does not say where it is sent from`);
    const [{ Reader, resolvePath }, cluster] = await Promise.all([import('../cluster/index.ts'), configured(shells)]);
    const reader = new Reader(cluster.config);
    if (from.kind !== 'own') return await resolvePath(reader, from, to);
    const pod = await cluster.agents.sender(from.node, run);
    const { path, view } = await resolvePath(reader, { kind: 'pod', ...pod }, to);
    // What an approval is bound to, and what is resolved again later: the pod's name is of this run only.
    return { path: { ...path, text }, view };
  } catch (error) {
    throw final(error, 'TargetError');
  }
}

/** That there is no such target is final: no retry makes one. Everything else stays as it is. */
export const final = (error: unknown, type: string): unknown =>
  error instanceof TargetError ? hopeless(error.message, type) : error;

/** @throws ApplicationFailure where no retry helps: there is no such kubeconfig or context */
export async function configured(shells: ShellPool): Promise<Cluster> {
  return shells.cluster().catch((error: unknown) => {
    throw hopeless(error instanceof Error ? error.message : String(error), 'Unconfigured');
  });
}

/** Removes the pods that were made for a run. What is left because the API does not answer ends itself in time. */
export async function sweep({ inventory, shells }: Pick<Deps, 'inventory' | 'shells'>, run: string): Promise<void> {
  if (!inventory.kubernetes) return;
  await shells
    .cluster()
    .then(({ agents }) => agents.sweep(run))
    .catch(() => {});
}
