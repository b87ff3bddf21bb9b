import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { access, mkdir, mkdtemp, readFile, readdir, rename, rm } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheFolder } from './paths.ts';

const recipe = fileURLToPath(new URL('temporal', import.meta.url));
const downloadMs = 120_000;

/** Tells the user what takes long: called with a line that replaces the last one. */
export type Progress = (line: string) => void;

const executable = (path: string): Promise<boolean> =>
  access(path, constants.X_OK).then(
    () => true,
    () => false,
  );

/**
 * Finds or makes the program of the embedded Temporal server: UNDROP_TEMPORAL_BINARY, `temporal` on PATH, undrop's cache,
 * the SDK's download, a build from the pinned Go module (3 to 7 minutes, once).
 * @throws Error that lists everything that was tried, and what to do
 */
export async function temporalBinary(progress: Progress): Promise<string> {
  const tried: string[] = [];
  const explicit = process.env['UNDROP_TEMPORAL_BINARY'];
  if (explicit !== undefined) {
    if (await executable(explicit)) return explicit;
    throw new Error(`UNDROP_TEMPORAL_BINARY=${explicit} is not an executable file`);
  }
  for (const folder of (process.env['PATH'] ?? '').split(delimiter))
    if (folder && (await executable(join(folder, 'temporal')))) return join(folder, 'temporal');
  tried.push('`temporal` on PATH: not there');

  const cache = await cachePath();
  if (await executable(cache)) return cache;
  const kept = await downloaded();
  if (kept !== undefined) return kept;
  tried.push(`the cache: no ${cache}`);
  try {
    progress('downloading the Temporal server');
    return await download();
  } catch (error) {
    tried.push(`the Temporal SDK's download: ${firstLine(error)}`);
  }
  try {
    return await build(cache, progress);
  } catch (error) {
    tried.push(`a build with Go: ${firstLine(error)}`);
  }
  throw new Error(
    [
      'there is no Temporal server to start. Tried:',
      ...tried.map((line) => `  - ${line}`),
      'Set TEMPORAL_ADDRESS to a running one, put the `temporal` CLI on PATH, or install Go 1.26 or newer.',
    ].join('\n'),
  );
}

const firstLine = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).split('\n')[0] ?? '';

async function cachePath(): Promise<string> {
  const hash = createHash('sha256');
  for (const file of ['go.mod', 'go.sum']) hash.update(await readFile(join(recipe, file)));
  return join(cacheFolder(), `temporal-${hash.digest('hex').slice(0, 16)}`, 'temporal');
}

const downloads = (): string => join(cacheFolder(), 'temporal-sdk');

/** What an earlier download left. */
async function downloaded(): Promise<string | undefined> {
  const names = await readdir(downloads()).catch(() => []);
  const file = names.find((name) => name.startsWith('temporal'));
  return file !== undefined && (await executable(join(downloads(), file))) ? join(downloads(), file) : undefined;
}

/** The SDK only downloads in order to start a server of its own: it is started once, and its file is kept. */
async function download(): Promise<string> {
  const folder = downloads();
  await mkdir(folder, { recursive: true });
  const { TestWorkflowEnvironment } = await import('@temporalio/testing');
  const started = TestWorkflowEnvironment.createLocal({
    server: { executable: { type: 'cached-download', downloadDir: folder } },
  });
  const late = new Promise<never>((_, reject) => {
    setTimeout(() => reject(new Error(`not done after ${downloadMs / 1000} s`)), downloadMs).unref();
  });
  await (await Promise.race([started, late])).teardown();
  const file = await downloaded();
  if (file === undefined) throw new Error(`nothing was stored in ${folder}`);
  return file;
}

/** Built beside and renamed, so that an interrupted build leaves no half binary. */
async function build(target: string, progress: Progress): Promise<string> {
  await mkdir(join(cacheFolder()), { recursive: true });
  const folder = await mkdtemp(join(cacheFolder(), 'building-'));
  const started = Date.now();
  try {
    let packages = 0;
    let told = '';
    const out = join(folder, 'temporal');
    const argv = ['build', '-v', '-trimpath', '-ldflags', '-s -w', '-o', out, 'github.com/temporalio/cli/cmd/temporal'];
    const child = spawn('go', argv, { cwd: recipe, stdio: ['ignore', 'ignore', 'pipe'] });
    const tick = setInterval(() => {
      const seconds = Math.round((Date.now() - started) / 1000);
      progress(
        `building the Temporal server from its Go module, once: ${packages} packages, ${seconds} s (3 to 7 minutes)`,
      );
    }, 1000);
    child.stderr.on('data', (chunk: Buffer) => {
      const lines = chunk.toString().trim().split('\n');
      packages += lines.filter((line) => !line.startsWith('go: ')).length;
      told = lines.at(-1) ?? told;
    });
    const code = await new Promise<number | null>((resolve, reject) => {
      child.on('error', (error) =>
        reject('code' in error && error.code === 'ENOENT' ? new Error('there is no `go` on PATH') : error),
      );
      child.on('close', resolve);
    }).finally(() => clearInterval(tick));
    if (code !== 0) throw new Error(`go build ended with status ${code}: ${told}`);
    await mkdir(join(target, '..'), { recursive: true });
    await rename(out, target);
    return target;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
