import { Option } from 'commander';
import { readInventory } from './inventory.ts';
import { UserError } from './output.ts';
import type { Session, Work } from './session.ts';

export const inventoryOption = (): Option =>
  new Option('-i, --inventory <file>', 'the inventory (default: $UNDROP_INVENTORY, else ./undrop.yaml)');
export const jsonOption = (): Option => new Option('--json', 'print the result as JSON');

export const windowOption = (): Option =>
  new Option('-w, --window <seconds>', 'quiet window that shows what moves anyway').default('1.5');

/** Beside `--passive` the window is the time in which traffic is watched. */
export const watchedWindowSeconds = '10';

/** @throws UserError for what is no sensible window */
export function windowMsOf(seconds: string): number {
  const ms = Number(seconds) * 1000;
  if (!(ms >= 200 && ms <= 600_000)) throw new UserError('--window takes 0.2 to 600 seconds');
  return ms;
}

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
