import { z } from 'zod';
import { expression, template } from './cel.ts';
import { checked } from './checked.ts';
import { allowedProcesses } from './operation.ts';
import { Probe } from './probe.ts';

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

/** Files of a node that proposals may speak of: the network's configuration that pods get, and settings of the kernel. */
export const nodeFiles = ['cni', 'sysctl'] as const;

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

const Sets = z.record(z.string().min(1), Expression);
/** An object of the API; with `text` a document in YAML or JSON under this key of its data. */
const ObjectName = z.strictObject({
  apiVersion: z.string().min(1),
  kind: z.string().min(1),
  namespace: z.string().min(1).optional(),
  name: z.string().min(1),
  text: z.string().min(1).optional(),
});
export type ObjectName = z.infer<typeof ObjectName>;

/** Where a setting of others may be, and what its fields should be. `file`: of the node, at places that undrop knows. */
export const ProposalTo = z.union([
  z.strictObject({ object: ObjectName, set: Sets, afterwards: z.string().optional() }),
  z.strictObject({ file: z.enum(nodeFiles), set: Sets, owner: z.string().min(1), afterwards: z.string().optional() }),
]);
export type ProposalTo = z.infer<typeof ProposalTo>;

/** A change that only the setting's owner can make to last, so that undrop proposes it and never makes it. */
export const ProposalTemplate = z.strictObject({
  /** Left out: always. */
  when: Expression.optional(),
  why: Text,
  /** The first that is there is the one. */
  to: z.array(ProposalTo).min(1),
  /** Said where none of them is there or may be read; without it nothing is proposed then. */
  else: Text.optional(),
});
export type ProposalTemplate = z.infer<typeof ProposalTemplate>;

/** One without operations only proposes: there is nothing to approve then. */
export const Remedy = z
  .strictObject({
    id: Slug,
    title: z.string().min(1),
    operations: z.array(OperationTemplate).default([]),
    propose: z.array(ProposalTemplate).default([]),
    /** What verification must find, or the change is reverted. */
    predict: z.strictObject({ says: z.string(), withinSeconds: z.number().positive().max(600) }),
    risk: z.enum(['low', 'medium', 'high']),
    cost: z.string().min(1),
    owner: z.string().min(1),
    lasts: z.string().min(1),
  })
  .refine(({ operations, propose }) => operations.length + propose.length > 0, 'it neither does nor proposes anything');
export type Remedy = z.infer<typeof Remedy>;

/** A whole runbook, pinned by the digest of its files. */
export interface Runbook {
  digest: string;
  methodology: Methodology;
  causes: Cause[];
  remedies: Remedy[];
}
