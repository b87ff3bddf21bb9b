import { randomBytes } from 'node:crypto';
import { mkdir, readFile, readdir, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import { digestOf } from '../domain/digest.ts';

/** Keeps evidence out of workflow histories: JSON by its digest, in a folder. It ages from its last use on. */
export class EvidenceStore {
  private readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  async put(value: unknown): Promise<string> {
    // Both before anything is waited for: what is still being filled must not change in between.
    const digest = digestOf(value);
    const text = JSON.stringify(value);
    const path = this.path(digest);
    await mkdir(dirname(path), { recursive: true });
    const packed = await promisify(gzip)(text, { level: 1 });
    // Written beside and renamed: a killed worker leaves no half file under a digest.
    const fresh = `${path}.${randomBytes(4).toString('hex')}`;
    await writeFile(fresh, packed);
    await rename(fresh, path);
    return digest;
  }

  /** @throws Error that names the folder when the evidence is not here, or not what its name says */
  async get<T>(digest: string): Promise<T> {
    if (!/^[0-9a-f]{64}$/.test(digest)) throw new Error(`"${digest}" is no digest`);
    const path = this.path(digest);
    // Runs share evidence: what one of them still reads is not old. Whoever may only read cannot say so.
    await utimes(path, new Date(), new Date()).catch(() => {});
    const packed = await readFile(path).catch((error: unknown) => {
      const why =
        'another machine has it, or nobody used it for so long that it was deleted (keep.days of the inventory)';
      throw new Error(`evidence ${digest.slice(0, 12)} is not in ${this.folder}: ${why}`, { cause: error });
    });
    const value = JSON.parse((await promisify(gunzip)(packed)).toString('utf8')) as T;
    if (digestOf(value) !== digest) throw new Error(`evidence ${digest.slice(0, 12)} was altered on disk`);
    return value;
  }

  /** Points a name at evidence: the newest audit of an inventory is found by it. */
  async point(name: string, digest: string): Promise<void> {
    const path = this.pointer(name);
    await mkdir(dirname(path), { recursive: true });
    const fresh = `${path}.${randomBytes(4).toString('hex')}`;
    await writeFile(fresh, digest);
    await rename(fresh, path);
  }

  /** The digest that a name points at; undefined where nobody pointed it yet. */
  async pointed(name: string): Promise<string | undefined> {
    const digest = (await readFile(this.pointer(name), 'utf8').catch(() => '')).trim();
    return digest === '' ? undefined : digest;
  }

  /**
   * Deletes what was last used before a time (milliseconds since the epoch), also what a killed worker left half written.
   * @returns how many files, and their bytes
   */
  async drop(before: number, signal?: AbortSignal): Promise<{ files: number; bytes: number }> {
    const dropped = { files: 0, bytes: 0 };
    const folders = await readdir(this.folder).catch(() => []);
    for (const folder of folders.filter((name) => /^[0-9a-f]{2}$/.test(name)))
      for (const name of await readdir(join(this.folder, folder))) {
        if (signal?.aborted) return dropped;
        const bytes = await dropFile(join(this.folder, folder, name), before);
        if (bytes === undefined) continue;
        dropped.files++;
        dropped.bytes += bytes;
      }
    return dropped;
  }

  private pointer(name: string): string {
    if (!/^[A-Za-z0-9.-]{1,100}$/.test(name)) throw new Error(`"${name}" is no name for evidence`);
    return join(this.folder, 'names', name);
  }

  private path(digest: string): string {
    return join(this.folder, digest.slice(0, 2), `${digest}.json.gz`);
  }
}

/** Its size; undefined where it stays, or another worker was faster. */
async function dropFile(path: string, before: number): Promise<number | undefined> {
  const old = async (file: string): Promise<number | undefined> => {
    const found = await stat(file).catch(() => undefined);
    return found?.isFile() && found.mtimeMs < before ? found.size : undefined;
  };
  if ((await old(path)) === undefined) return undefined;
  // Somebody may be using it at this very moment: it is put aside first, and put back if it is not old after all.
  const aside = `${path}.${randomBytes(4).toString('hex')}`;
  try {
    await rename(path, aside);
  } catch {
    return undefined;
  }
  const size = await old(aside);
  if (size === undefined) await rename(aside, path);
  else await rm(aside, { force: true });
  return size;
}
