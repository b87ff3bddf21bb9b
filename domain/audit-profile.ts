import { z } from 'zod';
import { fits } from './globs.ts';
import { gauges } from './counters.ts';

const Glob = z.string().regex(/^[a-z0-9.*-]{1,63}$/i, 'letters, digits, dots, dashes and *');
const Setting = z
  .string()
  .refine((name) => Object.hasOwn(gauges, name), { error: 'no setting that an audit reads (docs/audits.md)' });
const Feature = z.string().regex(/^[a-z0-9_-]+$/);
const Device = z.string().regex(/^[a-z0-9._*-]{1,15}$/i);

/** What nodes should be like. The first entry that matches a node's name is its profile. */
export const Profile = z.strictObject({
  /** Names of nodes, with * for any text. */
  nodes: z.array(Glob).min(1).default(['*']),
  /** Nodes of one group are peers of each other. */
  group: z
    .string()
    .regex(/^[a-z0-9-]{1,40}$/i)
    .optional(),
  settings: z.record(Setting, z.number()).default({}),
  /** Device (with *) -> feature -> on or off. */
  offloads: z.record(Device, z.record(Feature, z.enum(['on', 'off']))).default({}),
  /** Device (with *) -> MTU. */
  mtu: z.record(Device, z.int().min(68).max(65536)).default({}),
  kubeProxy: z
    .strictObject({
      mode: z.enum(['iptables', 'nftables', 'ipvs']).optional(),
      version: z
        .string()
        .regex(/^v?[0-9][0-9a-z.+-]*$/i)
        .optional(),
    })
    .optional(),
});
export type Profile = z.infer<typeof Profile>;

export const Audit = z.strictObject({
  profile: z.array(Profile).default([]),
  /** Longest wait for one node before it is named as unreachable. */
  deadlineSeconds: z.number().min(1).max(60).default(10),
  /** Most nodes of this cluster that are begun in one second; left out: no limit. */
  perSecond: z.number().positive().max(10_000).optional(),
});
export type Audit = z.infer<typeof Audit>;

export const profileOf = (profiles: readonly Profile[], node: string): Profile | undefined =>
  profiles.find(({ nodes }) => nodes.some((glob) => fits(glob, node)));
