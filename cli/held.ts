import type { Inventory } from '../domain/inventory.ts';
import { journals } from '../nodes/operations/guard.ts';
import { NoChanger } from '../nodes/shells/kubernetes/errors.ts';
import { KubernetesShell } from '../nodes/shells/kubernetes/shell.ts';
import { ShellPool } from '../nodes/shells/pool.ts';
import type { Shell } from '../nodes/shells/shell.ts';
import { nodeNames } from './cluster-nodes.ts';

export interface Held {
  node: string;
  id: string;
  /** When the node reverts by itself. */
  deadline: string;
  /** It should have done so long since: its timer was killed, or it is stuck behind a lock. */
  overdue?: true;
}

/** A timer that fires may wait for another change's lock. */
const graceMs = 30_000;

export interface Remains {
  held: Held[];
  /** Nodes that were not looked at; where not even their names are known, one row for all. */
  unseen: { node: string; why: string }[];
}

/** Asks every node which changes it holds unconfirmed; nothing but the way to the nodes is needed. */
export async function heldOnNodes(inventory: Inventory): Promise<Remains> {
  const shells = new ShellPool(inventory);
  const unseen: Remains['unseen'] = [];
  const held = new Map<string, Held>();
  const missed = (node: string, error: unknown): void =>
    void unseen.push({ node, why: error instanceof Error ? error.message : String(error) });
  try {
    const nodes = inventory.kubernetes
      ? await nodeNames(shells).catch((error: unknown) => {
          missed('every node', error);
          return [];
        })
      : Object.keys(inventory.nodes);
    await Promise.all(
      nodes.map(async (node) => {
        try {
          const found = await journals({ shell: await looking(shells, node), place: { name: node } });
          // Nodes of a lab share one machine, and its journals.
          for (const { id, state, deadline } of found)
            if (state === 'armed' && !held.has(id)) {
              const overdue = Date.parse(deadline) + graceMs < Date.now();
              held.set(id, { node, id, deadline, ...(overdue && { overdue }) });
            }
        } catch (error) {
          missed(node, error);
        }
      }),
    );
  } finally {
    await shells.close();
  }
  return { held: [...held.values()], unseen };
}

/** The way by which changes are made: in a cluster no other pod sees the node's journals. */
async function looking(shells: ShellPool, node: string): Promise<Shell> {
  const shell = shells.changing(node);
  try {
    if (shell instanceof KubernetesShell) await shell.warm();
    return shell;
  } catch (error) {
    // It may have been there when something was changed.
    if (error instanceof NoChanger)
      throw new Error('no pod of the changer runs there to look with: `cat /run/undrop/*/state` on the node says it', {
        cause: error,
      });
    throw error;
  }
}
