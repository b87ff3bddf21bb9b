import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Inventory } from '../domain/inventory.ts';
import { dataFolder } from '../worker/paths.ts';
import type { Finding } from './commands/doctor.ts';

const rooms = ['evidence', 'runs', 'audits'];

/** Where this machine keeps evidence and reports, how large they are, and until when they stay. */
export async function* checkData({ keep }: Inventory): AsyncGenerator<Finding> {
  const folder = dataFolder();
  const sizes = await Promise.all(rooms.map(async (room) => `${room} ${megabytes(await bytesIn(join(folder, room)))}`));
  yield {
    about: 'data',
    state: 'ok',
    says: `${folder}: ${sizes.join(', ')}; kept ${keep.days} days, reports of plans ${keep.changesDays} (keep in the inventory)`,
  };
}

/** Of all files below a folder; 0 where there is none. */
async function bytesIn(folder: string): Promise<number> {
  let bytes = 0;
  for (const entry of await readdir(folder, { withFileTypes: true }).catch(() => [])) {
    const path = join(folder, entry.name);
    // One after the other: a large store has a hundred thousand of them. A worker may just be deleting one.
    if (entry.isDirectory()) bytes += await bytesIn(path);
    else bytes += (await stat(path).catch(() => undefined))?.size ?? 0;
  }
  return bytes;
}

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;
