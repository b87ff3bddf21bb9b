import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse } from '@swc/core';

export const root = fileURLToPath(new URL('../..', import.meta.url));

/** One import of a file, however it is written: static, `export from`, `import()`, or the type `import('x').Y`. */
export interface Import {
  from: string;
  typeOnly: boolean;
}

export interface Source {
  imports: Import[];
  /** Names that the file uses and nobody in it declares, such as `process`; calls of a clock as `Date.now`. */
  globals: Set<string>;
}

interface Tree {
  type?: string;
  [key: string]: unknown;
}

/** All sources of the repository, also those that git does not know yet; others' temporary files are left out. */
export function sources(folder = ''): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return /^(node_modules|\..*)$/.test(entry.name) ? [] : sources(path);
    return /\.[cm]?[jt]s$/.test(entry.name) && !entry.name.includes('.tmp.') ? [path] : [];
  });
}

export async function readSource(path: string): Promise<Source> {
  return parseSource(readFileSync(join(root, path), 'utf8'));
}

export async function parseSource(text: string): Promise<Source> {
  const source: Source = { imports: [], globals: new Set() };
  visit((await parse(text, { syntax: 'typescript', target: 'es2024' })) as unknown as Tree, source);
  return source;
}

function visit(node: unknown, source: Source): void {
  if (Array.isArray(node)) return node.forEach((one) => visit(one, source));
  if (typeof node !== 'object' || node === null) return;
  const tree = node as Tree;
  noteImport(tree, source.imports);
  noteGlobal(tree, source.globals);
  for (const value of Object.values(tree)) visit(value, source);
}

const text = (node: unknown): string => (node as { value?: string } | undefined)?.value ?? '?';

function noteImport(tree: Tree, imports: Import[]): void {
  switch (tree.type) {
    case 'ImportDeclaration':
    case 'ExportNamedDeclaration':
    case 'ExportAllDeclaration': {
      if (!tree['source']) return;
      const names = (tree['specifiers'] ?? []) as { isTypeOnly?: boolean }[];
      const typeOnly = tree['typeOnly'] === true || (names.length > 0 && names.every((name) => name.isTypeOnly));
      imports.push({ from: text(tree['source']), typeOnly });
      return;
    }
    case 'TsImportType':
      imports.push({ from: text(tree['argument']), typeOnly: true });
      return;
    case 'CallExpression': {
      const callee = tree['callee'] as Tree;
      const called = callee.type === 'Import' || (callee.type === 'Identifier' && callee['value'] === 'require');
      const [first] = tree['arguments'] as { expression: Tree }[];
      // An import of a computed name could be of anything: it counts as one of `?`, which no room may import.
      if (called)
        imports.push({
          from: first?.expression.type === 'StringLiteral' ? text(first.expression) : '?',
          typeOnly: false,
        });
    }
  }
}

/** swc marks a name that no scope of the file declares with this context. */
const undeclared = 1;

function noteGlobal(tree: Tree, globals: Set<string>): void {
  if (tree.type === 'Identifier' && tree['ctxt'] === undeclared) globals.add(text(tree));
  const object = tree['object'] as Tree | undefined;
  if (tree.type === 'MemberExpression' && object?.['ctxt'] === undeclared)
    globals.add(`${text(object)}.${text(tree['property'])}`);
  const callee = tree['callee'] as Tree | undefined;
  const words = tree['arguments'] as unknown[] | null | undefined;
  if (tree.type === 'NewExpression' && text(callee) === 'Date' && !words?.length) globals.add('new Date()');
}

/** The path in the repository that a relative import leads to; undefined for a package. */
export const target = (importer: string, from: string): string | undefined =>
  from.startsWith('.') ? normalize(join(dirname(importer), from)) : undefined;
