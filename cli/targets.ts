import { fits } from '../domain/globs.ts';
import type { Inventory } from '../domain/inventory.ts';
import { nodeNames } from './cluster-nodes.ts';
import { UserError } from './output.ts';

/**
 * Targets whose FROM has a `*`, as one target for each node that it stands for; in a cluster `node/*` and `undrop/*`.
 * @throws UserError where it stands for none
 */
export async function everyTarget(inventory: Inventory, targets: readonly string[]): Promise<string[]> {
  const all: string[] = [];
  let known: string[] | undefined;
  for (const text of targets) {
    const [from = '', to = ''] = text.split('->').map((one) => one.trim());
    if (!from.includes('*')) {
      all.push(text);
      continue;
    }
    known ??= inventory.kubernetes ? await clusterSenders(inventory) : Object.keys(inventory.nodes);
    const found = known.filter((name) => name !== to && fits(from, name)).map((name) => `${name}->${to}`);
    if (found.length === 0) throw new UserError(`no node fits "${from}"; there are: ${known.slice(0, 10).join(', ')}`);
    all.push(...found);
  }
  return [...new Set(all)];
}

async function clusterSenders(inventory: Inventory): Promise<string[]> {
  const { ShellPool } = await import('../nodes/shells/pool.ts');
  const shells = new ShellPool(inventory);
  try {
    return (await nodeNames(shells)).flatMap((name) => [`node/${name}`, `undrop/${name}`]);
  } finally {
    await shells.close();
  }
}
