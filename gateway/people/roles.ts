import { z } from 'zod';
import { fitsEnds } from '../../domain/globs.ts';

/** Each may do what those before it may. */
const ranks = ['view', 'start', 'approve', 'administer'] as const;
export type Role = (typeof ranks)[number];

/** Who is there, as far as this gateway has proof of it. */
export interface Principal {
  name: string;
  /** A machine starts and reads; it never decides. */
  kind: 'person' | 'machine';
  /** Groups of the identity provider. */
  groups: readonly string[];
}

export const RoleBinding = z.strictObject({
  role: z.enum(ranks),
  /** Names of people and machines, or `group:NAME` of the identity provider. */
  who: z.array(z.string().regex(/^(group:)?[\w.@-]{1,100}$/)).min(1),
  /** Targets that it holds for, such as `service/shop/*` or `node/*->service/shop/*`; each end must fit. */
  targets: z.array(z.string().min(1).max(200)).default(['*']),
});
export type RoleBinding = z.infer<typeof RoleBinding>;

/** The target of what concerns every target: only a binding to all of them fits it. */
export const everything = '*';

/** Whether somebody may do what a role may do to a target. Nobody may anything that no binding says. */
export function may(bindings: readonly RoleBinding[], who: Principal, role: Role, target: string): boolean {
  const needed = ranks.indexOf(role);
  return bindings.some(
    (one) =>
      ranks.indexOf(one.role) >= needed &&
      one.who.some((name) => (name.startsWith('group:') ? who.groups.includes(name.slice(6)) : name === who.name)) &&
      fitsEnds(one.targets, target),
  );
}

/** The same for what has many targets: with all of them. Where none is known, it may be any. */
export const mayAll = (
  bindings: readonly RoleBinding[],
  who: Principal,
  role: Role,
  targets: readonly string[],
): boolean => (targets.length > 0 ? targets : [everything]).every((target) => may(bindings, who, role, target));
