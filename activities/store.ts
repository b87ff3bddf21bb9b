import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import { digestOf } from '../domain/digest.ts';

/** Keeps evidence out of workflow histories: JSON by its digest, in a folder. */
export class EvidenceStore {
  private readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  async put(value: unknown): Promise<string> {
    const digest = digestOf(value);
    const path = this.path(digest);
    await mkdir(dirname(path), { recursive: true });
    const packed = await promisify(gzip)(JSON.stringify(value), { level: 1 });
    // Written beside and renamed: a killed worker leaves no half file under a digest.
    const fresh = `${path}.${randomBytes(4).toString('hex')}`;
    await writeFile(fresh, packed);
    await rename(fresh, path);
    return digest;
  }

  /** @throws Error that names the folder when the evidence is not here, or not what its name says */
  async get<T>(digest: string): Promise<T> {
    if (!/^[0-9a-f]{64}$/.test(digest)) throw new Error(`"${digest}" is no digest`);
    const packed = await readFile(this.path(digest)).catch((error: unknown) => {
      throw new Error(`evidence ${digest.slice(0, 12)} is not in ${this.folder}`, { cause: error });
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

  private pointer(name: string): string {
    if (!/^[A-Za-z0-9.-]{1,100}$/.test(name)) throw new Error(`"${name}" is no name for evidence`);
    return join(this.folder, 'names', name);
  }

  private path(digest: string): string {
    return join(this.folder, digest.slice(0, 2), `${digest}.json.gz`);
  }
}
