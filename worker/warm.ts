import type { Inventory } from '../domain/inventory.ts';
import { NoChanger } from '../nodes/shells/kubernetes/errors.ts';
import { KubernetesShell } from '../nodes/shells/kubernetes/shell.ts';
import type { ShellPool } from '../nodes/shells/pool.ts';
import type { Shell } from '../nodes/shells/shell.ts';

/** How often lost sessions are made anew: a table may fill within a minute, and then it is too late. */
const everyMs = 15_000;
/** Sessions cost the API server a stream each. */
const mostNodes = 200;

type Tell = (message: string, meta: Record<string, unknown>) => void;

/**
 * Keeps a session open with every node that may be the first hop of a watched Service, which is each that runs pods: a node
 * whose conntrack table is full accepts no new session, and serves those that are open.
 * @param tell hears of nodes that become unreachable, and of those that come back
 * @returns ends it
 */
export function keepWarm({ kubernetes }: Inventory, shells: ShellPool, tell: Tell): () => void {
  if (!kubernetes || kubernetes.watch.length === 0) return () => {};
  const unreachable = new Set<string>();
  let timer: NodeJS.Timeout | undefined;
  let ended = false;
  const round = async (): Promise<void> => {
    try {
      const nodes = await nodesOf(shells);
      if (ended) return;
      for (const node of nodes)
        void warm(shells, node).then(
          () => unreachable.delete(node) && tell('a node can be reached again', { node }),
          (error: unknown) => {
            if (!unreachable.has(node))
              tell('no session with a node of a watched Service', { node, error: String(error) });
            unreachable.add(node);
          },
        );
    } catch (error) {
      tell('the nodes of watched Services could not be listed', { error: String(error) });
    }
    if (!ended) timer = setTimeout(() => void round(), everyMs).unref();
  };
  void round();
  return () => {
    ended = true;
    clearTimeout(timer);
  };
}

async function nodesOf(shells: ShellPool): Promise<string[]> {
  const [{ Reader, readNodes }, { config }] = await Promise.all([import('../cluster/index.ts'), shells.cluster()]);
  const nodes = await readNodes(new Reader(config));
  return nodes
    .flatMap(({ metadata, spec }) => (metadata?.name && !spec?.unschedulable ? [metadata.name] : []))
    .slice(0, mostNodes);
}

/** Both sessions: what is found on a full node has to be cured there as well. */
async function warm(shells: ShellPool, node: string): Promise<void> {
  const open = async (shell: Shell): Promise<void> => {
    if (shell instanceof KubernetesShell) await shell.warm();
  };
  const changing = open(shells.changing(node)).catch((error: unknown) => {
    if (!(error instanceof NoChanger)) throw error;
  });
  await Promise.all([open(shells.of(node)), changing]);
}
