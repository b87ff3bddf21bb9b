import { Option } from 'commander';
import { readInventory } from './inventory.ts';
import type { Session, Work } from './session.ts';

export const inventoryOption = (): Option =>
  new Option('-i, --inventory <file>', 'the inventory (default: $UNDROP_INVENTORY, else ./undrop.yaml)');
export const jsonOption = (): Option => new Option('--json', 'print the result as JSON');

/** `RUN` of every command that takes one. */
export const runHelp = 'name of a run, the end of its name, or `last`';

/** Opens Temporal for the inventory's runs, works, and closes it whatever happens. */
export async function withSession<T>(
  file: string | undefined,
  work: (session: Session) => Promise<T>,
  as: Work = 'worker',
): Promise<T> {
  const [inventory, { openSession }] = await Promise.all([readInventory(file), import('./session.ts')]);
  const session = await openSession(inventory, as);
  try {
    return await work(session);
  } finally {
    await session.close();
  }
}
