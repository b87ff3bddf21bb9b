import { z } from 'zod';
import { Auth, Certificate } from './auth-config.ts';
import { type Kind, type KindName, kinds } from './kinds/index.ts';
import { Mapping } from './kinds/mapping.ts';
import { Targets } from './targets.ts';

const KindWord = z.enum(Object.keys(kinds) as [KindName, ...KindName[]]);

const Checked = z
  .strictObject({
    kind: KindWord,
    auth: z.discriminatedUnion('scheme', [Auth, Certificate]),
    mapping: Mapping.optional(),
    /** Which alerts start a run, and at what. */
    targets: Targets.prefault({}),
    /** Messages a minute; what is beyond is told to come later. */
    perMinute: z.int().min(1).max(100_000).default(6000),
  })
  .superRefine(({ kind, mapping }, context) => {
    const { mapping: rule }: Kind = kinds[kind];
    const complain = (message: string) => context.addIssue({ code: 'custom', path: ['mapping'], message });
    if (rule === 'needed' && !mapping) complain(`a source of kind ${kind} needs a mapping`);
    if (!rule && mapping) complain(`a source of kind ${kind} is read as its vendor writes it; leave the mapping out`);
  });

/** One configured sender. `auth.scheme` may be left out: the kind's own is taken. */
export const Source = z.preprocess(withScheme, Checked);
export type Source = z.infer<typeof Checked>;

function withScheme(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || !('kind' in value) || !('auth' in value)) return value;
  const { kind, auth } = value;
  if (typeof kind !== 'string' || !Object.hasOwn(kinds, kind)) return value;
  if (typeof auth !== 'object' || auth === null || 'scheme' in auth) return value;
  return { ...value, auth: { scheme: kinds[kind as KindName].auth, ...auth } };
}

/** By name, which is the last word of the URL it sends to and stands in the ids of runs. */
export const Sources = z.record(z.string().regex(/^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$/), Source);
