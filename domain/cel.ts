import { type ASTNode, Environment } from '@marcbachmann/cel-js';
import { auditFactNames, derivedNames } from './audit-facts.ts';
import { counters, gauges } from './counters.ts';
import { factNames, situationNames } from './facts/facts.ts';

/**
 * Expressions of the runbook, in CEL. The one file that knows the library. All numbers are doubles, so the operators that
 * CEL lacks between a double and a literal int are added.
 */
function environment(names: readonly string[]): Environment {
  const env = new Environment();
  for (const name of names) env.registerVariable(name, 'dyn');
  const number = Number;
  env
    .registerOperator('double + int: double', (a: number, b: bigint) => a + number(b))
    .registerOperator('int + double: double', (a: bigint, b: number) => number(a) + b)
    .registerOperator('double - int: double', (a: number, b: bigint) => a - number(b))
    .registerOperator('int - double: double', (a: bigint, b: number) => number(a) - b)
    .registerOperator('double * int: double', (a: number, b: bigint) => a * number(b))
    .registerOperator('int * double: double', (a: bigint, b: number) => number(a) * b)
    .registerOperator('double / int: double', (a: number, b: bigint) => a / number(b))
    .registerOperator('int / double: double', (a: bigint, b: number) => number(a) / b)
    .registerFunction('min(dyn, dyn): double', (a: unknown, b: unknown) => Math.min(number(a), number(b)))
    .registerFunction('max(dyn, dyn): double', (a: unknown, b: unknown) => Math.max(number(a), number(b)));
  return env;
}

/** The names that an expression may use, by where it stands. */
const words = {
  cause: environment(factNames),
  step: environment(situationNames),
  /** A message of incident tooling, and one entry of a list in it. */
  message: environment(['body', 'item']),
  /** An Alert: see domain/alert.ts. */
  alert: environment(['source', 'status', 'title', 'severity', 'labels', 'annotations']),
  audit: environment(auditFactNames),
};
/** What an expression is about. */
export type Words = keyof typeof words;

/** A checked expression. `evaluate` throws an Error whose message says what is missing. */
export interface Expression {
  text: string;
  evaluate(facts: Record<string, unknown>): unknown;
}

export class ExpressionError extends Error {}

/**
 * Parses and checks an expression before anything runs: syntax, names, and the fields of counter maps.
 * @param kind `cause`: the facts of a place in a window; `step`: the situation before a step; `message`, `alert`: of
 * incident tooling; `audit`: of a node in an audit. A value is never read as an expression, whatever it holds.
 * @throws ExpressionError that says what is wrong and where
 */
export function expression(text: string, kind: Words = 'cause'): Expression {
  const env = words[kind];
  const checked = env.check(text);
  if (!checked.valid) throw new ExpressionError(checked.error?.message ?? 'not a valid expression');
  const parsed = env.parse(text);
  checkFields(parsed.ast);
  return {
    text,
    evaluate: (facts) => {
      const value: unknown = parsed(facts);
      return typeof value === 'bigint' ? Number(value) : value;
    },
  };
}

const counterMaps = new Set(['delta', 'extra', 'senderExtra']);
const nodeFacts = { ...gauges, ...Object.fromEntries(derivedNames.map((name) => [name, true])) };

/** The library knows no fields of a `dyn`: a misspelt counter would only show as `untested` years later. */
function checkFields(node: unknown): void {
  if (Array.isArray(node)) return node.forEach(checkFields);
  if (typeof node !== 'object' || node === null || !('op' in node)) return;
  const { op, args } = node as ASTNode;
  if (op === '.') {
    const [object, field] = args as [ASTNode, string];
    const name = object.op === 'id' ? String(object.args) : '';
    const maps: Record<string, object> = { before: gauges, after: gauges, now: nodeFacts };
    const known = counterMaps.has(name) ? counters : Object.hasOwn(maps, name) ? maps[name] : undefined;
    if (known && !Object.hasOwn(known, field))
      throw new ExpressionError(`${name}.${field}: there is no such counter or setting`);
  }
  checkFields(args);
}

/**
 * A text with `{expression}` in it, checked like any expression. Numbers are written with thousands separators.
 * @throws ExpressionError
 */
export function template(text: string, words: Words = 'cause'): (facts: Record<string, unknown>) => string {
  const parts = text.split(/\{([^}]+)\}/).map((part, index) => (index % 2 ? expression(part, words) : part));
  return (facts) => parts.map((part) => (typeof part === 'string' ? part : shown(part.evaluate(facts)))).join('');
}

export function shown(value: unknown): string {
  if (typeof value === 'number') return Number(value.toFixed(2)).toLocaleString('en-US');
  return String(value);
}
