import { z } from 'zod';

/** Names that may appear in commands' output, file names and workflow ids: short, plain, no shell or path characters. */
export const Name = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/i, 'letters, digits, dots and dashes only, at most 63 characters');

export const Quorum = z.int().min(1).max(20);
/** So many approvals of a group each; without a group, of any approvers. */
export const Needs = z.array(z.strictObject({ group: Name.optional(), quorum: Quorum.default(1) })).min(1);
