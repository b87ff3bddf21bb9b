import { readFileSync, readdirSync } from 'node:fs';
import { z } from 'zod';
import { parseYaml } from '../domain/yaml.ts';

/** One way to break a lab, and what undrop must find then. */
export const Fault = z.strictObject({
  id: z.string(),
  lab: z.enum(['netns', 'vm', 'kubernetes']),
  /** A healthy setting that fools other tools: nothing may be proved. */
  confuser: z.boolean().default(false),
  title: z.string(),
  target: z.string(),
  /** CAUSE@place for everything that must be proved; nothing else may be. */
  expect: z.array(z.string().regex(/^[A-Z0-9-]+@[a-z0-9.]+$/)),
  /** How the run must end, where that is more than its causes say: `partly` leaves a step's loss open. */
  kind: z.enum(['explained']).optional(),
  /** kube-proxy's mode in which it is tried. */
  mode: z.enum(['iptables', 'nftables']).default('iptables'),
  /** The remedy that cures it. */
  remedy: z.string().optional(),
  inject: z.string(),
  heal: z.string(),
});
export type Fault = z.infer<typeof Fault>;

const folder = new URL('faults/', import.meta.url);

export function faults(): Fault[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.yaml'))
    .toSorted()
    .map((name) => parseYaml(readFileSync(new URL(name, folder), 'utf8'), `lab/faults/${name}`, Fault));
}
