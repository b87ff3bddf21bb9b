import { z } from 'zod';
import { AlertStatus, type Draft } from '../../domain/alert.ts';
import { ExpressionError, type Expression, expression } from '../../domain/cel.ts';
import { plainText } from '../../domain/plain-text.ts';
import { type Said, ignored, quoted } from './said.ts';

/** CEL over `body`, and over `item` where `each` gives a list. Checked when the configuration is read. */
const Cel = z.string().transform((text, context) => {
  try {
    return expression(text, 'message');
  } catch (error) {
    if (!(error instanceof ExpressionError)) throw error;
    context.addIssue({ code: 'custom', message: error.message });
    return z.NEVER;
  }
});

/** How a body of any shape is read: each field is an expression. */
export const Mapping = z.strictObject({
  /** The delivery's id, the same when it is sent again. */
  id: Cel.optional(),
  /** A list: the other expressions are evaluated once for each `item` of it. */
  each: Cel.optional(),
  problem: Cel,
  /** One of firing, acknowledged, resolved, cancelled. */
  status: Cel,
  title: Cel.optional(),
  severity: Cel.optional(),
  at: Cel.optional(),
  /** A map of texts. */
  labels: Cel.optional(),
  annotations: Cel.optional(),
});
export type Mapping = z.infer<typeof Mapping>;

/** Reads a body by a mapping. Where an expression fails on it, nothing is taken from it: half a message is a guess. */
export function mapped(mapping: Mapping, body: unknown): Said {
  let field = 'each';
  const of = (name: keyof Mapping, words: { body: unknown; item?: unknown }): unknown => {
    field = name;
    return (mapping[name] as Expression | undefined)?.evaluate(words);
  };
  try {
    const items = mapping.each ? of('each', { body }) : [undefined];
    if (!Array.isArray(items)) return ignored('the mapping\'s "each" gives no list');
    const drafts = items.map((item: unknown): Draft => {
      const words = { body, item };
      const status = of('status', words);
      const known = AlertStatus.safeParse(status);
      if (!known.success) throw new TypeError(`gives ${quoted(status)}, which is no status`);
      return {
        problem: of('problem', words),
        status: known.data,
        title: of('title', words),
        severity: of('severity', words),
        at: of('at', words),
        labels: record(of('labels', words)),
        annotations: record(of('annotations', words)),
      };
    });
    return { delivery: of('id', { body }), drafts };
  } catch (error) {
    const [line = ''] = (error instanceof Error ? error.message : String(error)).split('\n');
    return ignored(`the mapping's "${field}": ${plainText(line, 200)}`);
  }
}

const record = (value: unknown): unknown => (value instanceof Map ? Object.fromEntries(value) : value);
