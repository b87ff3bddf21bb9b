import { describe, expect, test } from '@jest/globals';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Import, type Source, parseSource, readSource, root, sources, target } from './support/imports.ts';

interface Room {
  /** Rooms that it may import from, besides itself. */
  rooms: string[];
  /** Rooms of which it may import types, which are gone at run time. */
  types?: string[];
  /** The only packages it may import; without a list, all. */
  packages?: RegExp;
}

const inner = ['workflows', 'activities', 'nodes', 'cluster', 'runbooks', 'domain'];
const rooms: Record<string, Room> = {
  domain: { rooms: [], packages: /^(zod|yaml|canonicalize|@marcbachmann\/cel-js)$/ },
  runbooks: { rooms: ['domain'], packages: /^(?!@temporalio\/)/ },
  nodes: { rooms: ['domain'], packages: /^(?!@temporalio\/)/ },
  cluster: { rooms: ['domain'], packages: /^(?!@temporalio\/)/ },
  activities: { rooms: ['nodes', 'cluster', 'domain'], packages: /^(?!@temporalio\/(?!activity$|common$))/ },
  workflows: { rooms: ['domain'], types: ['activities'], packages: /^@temporalio\/workflow$/ },
  worker: { rooms: inner },
  client: { rooms: ['worker', ...inner] },
  gateway: { rooms: ['client', 'worker', ...inner] },
  lab: { rooms: ['worker', ...inner] },
  bench: { rooms: ['lab', 'client', 'worker', 'gateway', ...inner] },
  cli: { rooms: ['lab', 'client', 'worker', 'gateway', ...inner] },
};
/** One file may use what its room may not. */
const exceptions: Record<string, RegExp> = { 'domain/digest.ts': /^node:crypto$/ };
/** Rooms whose files may import anything: tests, and files at the top such as jest.config.js. */
const free = new Set(['test', '']);

const roomOf = (path: string): string => (path.includes('/') ? (path.split('/')[0] ?? '') : '');

/** Why an import is forbidden, or undefined. */
function wall(file: string, { from, typeOnly }: Import): string | undefined {
  const name = roomOf(file);
  if (free.has(name)) return undefined;
  const room = rooms[name];
  if (!room) return `${file}: "${name}" is no room of the design`;
  const path = target(file, from);
  if (path === undefined)
    return (room.packages?.test(from) ?? true) || exceptions[file]?.test(from)
      ? from === '?'
        ? `${file} imports a computed name`
        : undefined
      : `${file} imports the package ${from}`;
  const other = roomOf(path);
  if (other === name || room.rooms.includes(other) || (typeOnly && room.types?.includes(other))) return undefined;
  return `${file} imports ${path}${typeOnly ? '' : ' at run time'}`;
}

const wallsOf = (file: string, { imports }: Source): string[] => imports.flatMap((one) => wall(file, one) ?? []);

const all = new Map(await Promise.all(sources().map(async (path) => [path, await readSource(path)] as const)));

/** Files and packages that are loaded when a file is, through any number of others. */
function loaded(file: string, files = new Set<string>(), packages = new Set<string>()): typeof packages {
  if (files.has(file)) return packages;
  files.add(file);
  for (const { from, typeOnly } of all.get(file)?.imports ?? []) {
    const path = target(file, from);
    if (typeOnly) continue;
    if (path === undefined) packages.add(from);
    else loaded(path, files, packages);
  }
  return packages;
}

describe('the walls between the rooms', () => {
  test('the sources of every room are found', () => {
    const found = [...new Set([...all.keys()].map(roomOf))];
    expect(found).toEqual(
      expect.arrayContaining(['domain', 'nodes', 'activities', 'workflows', 'worker', 'cli', 'lab']),
    );
    expect(all.size).toBeGreaterThan(60);
  });

  test('no import goes against the direction', () => {
    expect([...all].flatMap(([file, source]) => wallsOf(file, source))).toEqual([]);
  });

  test('every relative import names a file that is there', () => {
    const lost = [...all].flatMap(([file, { imports }]) =>
      imports.flatMap(({ from }) => {
        const path = target(file, from);
        return path === undefined || existsSync(join(root, path)) ? [] : [`${file} -> ${from}`];
      }),
    );
    expect(lost).toEqual([]);
  });

  test('the domain uses no clock, chance, timer, process or network by way of globals either', () => {
    const forbidden =
      /^(process|fetch|console|performance|crypto|set(Timeout|Interval|Immediate)|queueMicrotask|Date\.now|new Date\(\)|Math\.random)$/;
    const used = [...all].flatMap(([file, { globals }]) =>
      roomOf(file) === 'domain'
        ? [...globals].filter((name) => forbidden.test(name)).map((name) => `${file}: ${name}`)
        : [],
    );
    expect(used).toEqual([]);
  });

  test("what reads strangers' messages can reach nothing: it imports the domain, and packages without I/O", () => {
    const intake = /^gateway\/(kinds\/.*|intake|verify|schemes|json|auth-config|source-config|targets)\.ts$/;
    const files = [...all.keys()].filter((file) => intake.test(file));
    expect(files.length).toBeGreaterThan(15);
    const outside = files.flatMap((file) =>
      (all.get(file)?.imports ?? []).flatMap(({ from }) => {
        const path = target(file, from);
        const allowed = path === undefined ? /^(zod|node:crypto)$/.test(from) : intake.test(path) || roomOf(path) === 'domain'; // prettier-ignore
        return allowed ? [] : [`${file}: ${from}`];
      }),
    );
    expect(outside).toEqual([]);
  });

  test('what workflows load at run time is @temporalio/workflow and nothing else, through any number of files', () => {
    const packages = [...all.keys()]
      .filter((file) => roomOf(file) === 'workflows')
      .flatMap((file) => [...loaded(file)]);
    expect([...new Set(packages)]).toEqual(['@temporalio/workflow']);
  });
});

describe('this test can fail', () => {
  test.each([
    ['domain/x.ts', `import { readFileSync } from 'node:fs';`],
    ['domain/x.ts', `import { createHash } from 'node:crypto';`],
    ['domain/x.ts', `import fs from 'fs';`],
    ['domain/x.ts', `const later = await import('@temporalio/workflow');`],
    ['domain/a/x.ts', `import type { Shell } from '../../nodes/shells/shell.ts';`],
    ['nodes/shells/x.ts', `export { createActivities } from '../../activities/index.ts';`],
    ['nodes/x.ts', `export * from '../runbooks/load.ts';`],
    ['nodes/x.ts', `import { Context } from '@temporalio/activity';`],
    ['activities/x.ts', `type Change = import('../workflows/change.ts').Change;`],
    ['activities/x.ts', `import { Client } from '@temporalio/client';`],
    ['workflows/x.ts', `import { createActivities } from '../activities/index.ts';`],
    ['workflows/x.ts', `import { type Activities, createActivities } from '../activities/index.ts';`],
    ['workflows/x.ts', `import { z } from 'zod';`],
    ['workflows/x.ts', `import '../nodes/shells/pool.ts';`],
    ['worker/x.ts', `import { print } from '../cli/output.ts';`],
    ['worker/x.ts', `import('../lab/lab.ts');`],
    ['lab/x.ts', `import { print } from '../cli/output.ts';`],
    ['runbooks/x.ts', `import { ShellPool } from '../nodes/shells/pool.ts';`],
    ['runbooks/x.ts', 'await import(`../${where}.ts`);'],
    ['cli/x.ts', `import { waitFor } from '../test/support/until.ts';`],
    ['elsewhere/x.ts', `import { z } from 'zod';`],
  ])('%s: %s', async (file, text) => {
    expect(wallsOf(file, await parseSource(text))).toHaveLength(1);
  });

  test.each([
    ['domain/digest.ts', `import { createHash } from 'node:crypto';`],
    ['workflows/x.ts', `import type { Activities } from '../activities/index.ts';`],
    ['workflows/x.ts', `import { type Activities } from '../activities/index.ts';`],
    ['cli/x.ts', `const { heal } = await import('../lab/lab.ts');`],
    ['nodes/x.ts', `// import '../cli/main.ts'\nconst text = "import '../cli/main.ts'";`],
  ])('allowed in %s: %s', async (file, text) => {
    expect(wallsOf(file, await parseSource(text))).toEqual([]);
  });

  test('globals are told from names that a file declares', async () => {
    const { globals } = await parseSource(
      `const process = 1; console.log(process); const at = Date.now(); const then = new Date(5); const now = new Date();`,
    );
    expect([...globals].toSorted()).toEqual(['Date', 'Date.now', 'console', 'console.log', 'new Date()']);
  });
});
