import { z } from 'zod';
import type { Alert } from '../domain/alert.ts';
import { type Expression, ExpressionError, expression } from '../domain/cel.ts';
import { parseTarget, textOf } from '../domain/cluster-target.ts';
import { fitsParts } from '../domain/globs.ts';
import { plainText } from '../domain/plain-text.ts';
import { TargetError } from '../domain/target.ts';

const Cel = z.string().transform((text, context) => {
  try {
    return expression(text, 'alert');
  } catch (error) {
    if (!(error instanceof ExpressionError)) throw error;
    context.addIssue({ code: 'custom', message: error.message });
    return z.NEVER;
  }
});

/** An end of a path; `*` stands for any part of one name, and never for a slash. */
const Glob = z.string().regex(/^[a-z0-9*.-]+(\/[a-z0-9*.-]+){0,2}$/, 'such as service/shop/*, pod/shop/web-*, node/*');

/** Which alerts may start a run, and at what. */
export const Targets = z.strictObject({
  /** The first whose `when` is true decides; where none is, the usual labels do. */
  rules: z.array(z.strictObject({ when: Cel, target: Cel })).default([]),
  /** Each end of a target must match one. Without any, no alert starts anything. */
  allow: z.array(Glob).default([]),
  /** What is sent to from a node that an alert names without a Service, such as service/kube-system/kube-dns:53. */
  fromNode: z
    .string()
    .regex(/^service\/[a-z0-9.-]+\/[a-z0-9.-]+(:\d{1,5})?$/)
    .optional(),
  /** Ends as a cluster has them, or names of the inventory, `FROM->TO`. */
  ends: z.enum(['cluster', 'inventory']).default('cluster'),
});
export type Targets = z.infer<typeof Targets>;

/** The target of a run, or why an alert has none: for people and the log; it quotes what a stranger wrote. */
export type Aimed = { target: string } | { none: string };

/** Characters of a target. It is a part of an incident's id, and Temporal takes no id of more than 1,000. */
const mostTarget = 500;

/** What is aimed at by hand of the sender: a whole target in one label. */
export const targetLabel = 'undrop_target';

/**
 * The target that an alert is about. What comes out has the form of a target, and each of its ends is allowed; that the
 * objects are there is seen when the run resolves it.
 */
export function aim({ rules, allow, fromNode, ends }: Targets, alert: Alert): Aimed {
  const rule = rules.find(({ when }) => applies(when, alert));
  const aimed = rule ? byRule(rule.target, alert) : byLabels(alert.labels, fromNode);
  if ('none' in aimed) return aimed;
  const { length } = aimed.target;
  if (length > mostTarget)
    return { none: `a target of ${length} characters, more than ${mostTarget}: ${plainText(aimed.target, 100)}` };
  let found: { text: string; ends: string[] };
  try {
    found = ends === 'cluster' ? inCluster(aimed.target) : inInventory(aimed.target);
  } catch (error) {
    if (!(error instanceof TargetError)) throw error;
    return { none: plainText(error.message, 300) };
  }
  const stranger = found.ends.find((end) => !allow.some((glob) => fitsParts(glob, end)));
  return stranger === undefined
    ? { target: found.text }
    : { none: `${stranger} is not among what may be diagnosed by alerts` };
}

/** A name of a Kubernetes object or node: nothing that could end one end of a target and begin another. */
const plain = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;

const plainOnly = (texts: Record<string, string>): Record<string, string> =>
  Object.fromEntries(Object.entries(texts).filter(([, value]) => plain.test(value)));

/** An alert that lacks what a rule asks for is not one that the rule is for. */
function applies(when: Expression, alert: Alert): boolean {
  try {
    return when.evaluate({ ...alert, severity: alert.severity ?? '' }) === true;
  } catch {
    return false;
  }
}

/** The expression sees plain names alone: of `shop/echo->node/x` as a namespace it would make another target. */
function byRule(target: Expression, alert: Alert): Aimed {
  const { labels, annotations, title, severity = '', source, status } = alert;
  const words = { ...plainOnly({ title, severity, source }), status, labels: plainOnly(labels), annotations: plainOnly(annotations) }; // prettier-ignore
  try {
    const text = target.evaluate(words);
    return typeof text === 'string' ? { target: text } : { none: `the rule's target gives ${typeof text}, not a text` };
  } catch (error) {
    const [line = ''] = (error instanceof Error ? error.message : String(error)).split('\n');
    return { none: `the rule's target: ${plainText(line, 200)} (a value that is no plain name counts as missing)` };
  }
}

function byLabels(labels: Record<string, string>, fromNode: string | undefined): Aimed {
  const whole = own(labels, targetLabel);
  if (whole !== undefined) return { target: whole };
  const { namespace, service, node } = Object.fromEntries(
    ['namespace', 'service', 'node'].map((name) => [name, own(plainOnly(labels), name)]),
  );
  if (namespace && service) return { target: `service/${namespace}/${service}` };
  if (node && fromNode) return { target: `node/${node}->${fromNode}` };
  if (node) return { none: `only the node ${node} is named: say with fromNode what is sent to from it` };
  return {
    none: `no rule is for it, and it has neither ${targetLabel}, namespace and service, nor node as plain names`,
  };
}

const own = (texts: Record<string, string>, key: string): string | undefined =>
  Object.hasOwn(texts, key) ? texts[key] : undefined;

function inCluster(text: string): { text: string; ends: string[] } {
  const { from, to } = parseTarget(text);
  const all = from ? [from, to] : [to];
  // Port and endpoint choose within a Service, so the Service's name is what is allowed or not.
  const names = all.map((end) => (end.kind === 'service' ? `service/${end.namespace}/${end.name}` : textOf(end)));
  return { text: all.map(textOf).join('->'), ends: names };
}

function inInventory(text: string): { text: string; ends: string[] } {
  const ends = text.split('->').map((end) => end.trim());
  if (ends.length !== 2 || !ends.every((end) => plain.test(end)))
    throw new TargetError(`the target "${text}" is not FROM->TO with names of the inventory`);
  return { text: ends.join('->'), ends };
}
