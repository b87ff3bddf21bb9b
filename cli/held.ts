import type { Inventory } from '../domain/inventory.ts';
import { journals } from '../nodes/operations/guard.ts';
import { ShellPool } from '../nodes/shells/pool.ts';
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

/** Asks every node which changes it holds unconfirmed; nothing but the way to the nodes is needed. */
export async function heldOnNodes(
  inventory: Inventory,
): Promise<{ held: Held[]; unseen: { node: string; why: string }[] }> {
  const shells = new ShellPool(inventory);
  const unseen: { node: string; why: string }[] = [];
  const held = new Map<string, Held>();
  try {
    const nodes = inventory.kubernetes ? await nodeNames(shells) : Object.keys(inventory.nodes);
    await Promise.all(
      nodes.map(async (node) => {
        try {
          const found = await journals({ shell: shells.of(node), place: { name: node } });
          // Nodes of a lab share one machine, and its journals.
          for (const { id, state, deadline } of found)
            if (state === 'armed' && !held.has(id)) {
              const overdue = Date.parse(deadline) + graceMs < Date.now();
              held.set(id, { node, id, deadline, ...(overdue && { overdue }) });
            }
        } catch (error) {
          unseen.push({ node, why: error instanceof Error ? error.message : String(error) });
        }
      }),
    );
  } finally {
    await shells.close();
  }
  return { held: [...held.values()], unseen };
}
