import { z } from 'zod';
import { ExpressionError, expression, template } from './cel.ts';
import { allowedProcesses } from './operation.ts';
import { Probe } from './probe.ts';

const checked = (check: (text: string) => unknown, words: string) =>
  z.string().superRefine((text, context) => {
    try {
      check(text);
    } catch (error) {
      if (!(error instanceof ExpressionError)) throw error;
      context.addIssue({ code: 'custom', message: `${words} "${text}": ${error.message}` });
    }
  });
const Expression = checked((text) => expression(text), 'the expression');
const StepExpression = checked((text) => expression(text, 'step'), 'the expression');
const Text = checked(template, 'the text');
const Id = z.string().regex(/^[A-Z0-9]+(-[A-Z0-9]+)*$/, 'an id in capitals with dashes');
const Slug = z.string().regex(/^[a-z0-9]+(-[a-z0-9]+)*$/, 'lower-case words with dashes');

/** A condition with the sentence that the report prints when it decides. */
const Condition = z.strictObject({ that: Expression, says: Text });

export const families = ['kube-proxy', 'overlay', 'conntrack', 'nic', 'socket', 'path', 'policy', 'dns'] as const;

/** One way to lose a datagram, with what proves and what refutes it. */
export const Cause = z.strictObject({
  id: Id,
  family: z.enum(families),
  title: z.string().min(1),
  mechanism: z.string().min(1),
  /** Roles of the places at which it is judged. */
  at: z.array(z.enum(['sender', 'hop', 'receiver'])).min(1),
  /** Only losses of these steps can be this cause's; left out: of any. */
  steps: z.array(Slug).min(1).optional(),
  /** Which loss its count is held against. */
  loses: z.enum(['request', 'reply', 'any']).default('any'),
  /** How many datagrams this place lost in this way in the window. */
  counts: Expression,
  /** What that number is called in reports. */
  counter: Text,
  /** What must be known before it can be judged; where one fails the cause is untested and its sentence says why. */
  needs: z.array(Condition).default([]),
  /** Without these, a count that fits is only a suspicion. */
  prove: z.array(Condition).default([]),
  /** Each of these rules the cause out, whatever it counts. */
  refute: z.array(Condition).default([]),
  /** Its counter is the whole machine's: of the places on one machine it is judged at one, the node's own. */
  machineWide: z.boolean().default(false),
  /** It loses other clients' datagrams as well, so it is looked at even where none of ours were lost. */
  othersLoss: z.boolean().default(false),
  /** Causes that produce this one: where one of them is proved, this is its effect and not the root. */
  effectOf: z.array(Id).default([]),
  /** It decides only whom a loss meets: where another cause is proved for the same loss, that one is the root. */
  condition: z.boolean().default(false),
  /** The step that would decide a suspicion (the first of several that was not taken yet), and why. */
  next: z.strictObject({ step: z.union([Slug, z.array(Slug).min(1)]), why: z.string() }).optional(),
  remedies: z.array(Slug).default([]),
  owner: z.string().min(1),
  prevent: z.string().min(1),
  sources: z.array(z.string()).min(1),
});
export type Cause = z.infer<typeof Cause>;

/** One probe in the order of the methodology, and the question that it answers. */
export const Step = z.strictObject({
  id: Slug,
  question: z.string().min(1),
  /** The step is taken only where this holds. */
  when: StepExpression.optional(),
  /** Taken only when judging asks for it. */
  onDemand: z.boolean().default(false),
  probe: Probe,
});
export type Step = z.infer<typeof Step>;

export const Methodology = z.strictObject({
  title: z.string(),
  steps: z.array(Step).min(1),
  /** The step `passive`, which is the only one of a run that must not send anything. */
  passive: z.strictObject({ question: z.string().min(1) }),
  /** Files of causes are judged in this order of families; it is also the order of the report. */
  families: z.array(z.enum(families)),
});
export type Methodology = z.infer<typeof Methodology>;

/** An operation as a remedy names it: values may be expressions over the facts that proved the cause. */
export const OperationTemplate = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('sysctl.set'), key: z.string(), value: Expression }),
  z.strictObject({
    kind: z.literal('offload.set'),
    device: Expression,
    features: z.record(z.string(), z.enum(['on', 'off'])),
  }),
  z.strictObject({ kind: z.literal('conntrack.delete'), flows: z.literal('stale') }),
  z.strictObject({ kind: z.literal('conntrack.evict'), flows: z.literal('most') }),
  z.strictObject({ kind: z.literal('process.restart'), name: z.enum(allowedProcesses) }),
]);
export type OperationTemplate = z.infer<typeof OperationTemplate>;

export const Remedy = z.strictObject({
  id: Slug,
  title: z.string().min(1),
  operations: z.array(OperationTemplate).min(1),
  /** What verification must find, or the change is reverted. */
  predict: z.strictObject({ says: z.string(), withinSeconds: z.number().positive().max(600) }),
  risk: z.enum(['low', 'medium', 'high']),
  cost: z.string().min(1),
  owner: z.string().min(1),
  lasts: z.string().min(1),
});
export type Remedy = z.infer<typeof Remedy>;

/** A whole runbook, pinned by the digest of its files. */
export interface Runbook {
  digest: string;
  methodology: Methodology;
  causes: Cause[];
  remedies: Remedy[];
}
