import { z } from 'zod';
import { severities } from './audit.ts';
import { expression, template } from './cel.ts';
import { checked } from './checked.ts';

const Expression = checked((text) => expression(text, 'audit'), 'the expression');
const Text = checked((text) => template(text, 'audit'), 'the text');
const Slug = z.string().regex(/^[a-z0-9]+(-[a-z0-9]+)*$/, 'lower-case words with dashes');

/** One thing that an audit looks at on each node. */
export const Check = z.strictObject({
  id: Slug,
  title: z.string().min(1),
  /** Where this is not there, nobody asks: a node without a profile, or outside of a cluster. */
  needs: z.array(z.enum(['profile', 'kube-proxy'])).default([]),
  /** A finding where this holds. */
  when: Expression,
  severity: z.enum(severities),
  says: Text,
  /** A check that stands for this one: where it has found something, this one keeps silent. */
  under: z.array(Slug).default([]),
  /** The cause that would lose datagrams, and what helps against it: ids of the runbook. */
  cause: z
    .string()
    .regex(/^[A-Z0-9]+(-[A-Z0-9]+)*$/)
    .optional(),
  remedy: Slug.optional(),
  /** A number of each node that the page of the report shows among its peers. */
  plot: z.strictObject({ value: Expression, unit: z.string() }).optional(),
});
export type Check = z.infer<typeof Check>;

export const AuditFile = z.strictObject({ checks: z.array(Check).min(1) });

/** The checks of a runbook, with the digest of the bytes that they came from. */
export interface Checks {
  digest: string;
  checks: Check[];
}
