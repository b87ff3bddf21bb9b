import { createHash } from 'node:crypto';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** Where this user's runs, evidence and reports live: UNDROP_DATA, else the XDG data directory. */
export const dataFolder = (): string =>
  process.env['UNDROP_DATA'] ?? join(process.env['XDG_DATA_HOME'] ?? join(homedir(), '.local/share'), 'undrop');

/** Where reports of runs are written, a folder a run. */
export const runsFolder = (): string => join(dataFolder(), 'runs');
export const auditsFolder = (): string => join(dataFolder(), 'audits');
export const evidenceFolder = (): string => join(dataFolder(), 'evidence');

/** Where things live that can be made again: the server's binary, the workflow bundle, lab images. */
export const cacheFolder = (): string => join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'undrop');

/** What the keeper of a data folder has to show. */
export const tokenFile = (data: string): string => join(data, 'keeper.token');

/**
 * The keeper's socket. On Linux an abstract one: it vanishes with its process, so that no crash leaves a stale file, and
 * two keepers that start at once cannot both have it. Elsewhere a file beside the data.
 */
export function keeperSocket(data: string): string {
  const name = `undrop-${process.getuid?.() ?? 0}-${createHash('sha256').update(data).digest('hex').slice(0, 16)}`;
  return process.platform === 'linux' ? `\0${name}` : join(data, 'keeper.sock');
}
