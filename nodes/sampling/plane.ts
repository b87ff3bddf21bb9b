import { readFileSync } from 'node:fs';
import { z } from 'zod';
import type { Plane } from '../../domain/cluster.ts';
import { type Command, type Shell, run } from '../shells/shell.ts';

const script = readFileSync(new URL('plane.py', import.meta.url), 'utf8');
const deadlineMs = 8_000;

const Answer = z.object({
  process: z.object({ pid: z.number(), state: z.string() }).optional(),
  mode: z.string(),
  version: z.string().max(100).optional(),
  health: z.string(),
  syncedAgo: z.number().optional(),
  queued: z.boolean().optional(),
  restoreFailures: z.number().optional(),
  programmed: z.record(z.string(), z.array(z.string())).optional(),
  bound: z.record(z.string(), z.string()).optional(),
  legacyChains: z.number().optional(),
  bridgeCalls: z.number().optional(),
  missing: z.record(z.string(), z.string()),
});

/**
 * kube-proxy on one node, and where the rules there lead each of these addresses.
 * @param addresses `address:port` of the Service
 * @param client whose session affinity is looked up
 * @throws Error that says why it could not be read
 */
export async function readPlane(
  shell: Shell,
  node: string,
  addresses: readonly string[],
  client: string,
): Promise<Plane> {
  return plane(shell, node, [client, ...addresses], { deadlineMs });
}

/** The same without its rules, which take a second where there are many. */
export const readProxy = (shell: Shell, node: string, limits: Limits): Promise<Plane> =>
  plane(shell, node, ['', '--brief'], limits);

type Limits = Pick<Command, 'deadlineMs' | 'signal'>;

async function plane(shell: Shell, node: string, words: readonly string[], limits: Limits): Promise<Plane> {
  const outcome = await run(shell, { argv: ['python3', '-I', '-c', script, ...words], ...limits });
  if (outcome.kind !== 'exited') throw new Error(`${node}: ${outcome.why}`);
  if (outcome.code !== 0) throw new Error(`${node}: ${outcome.stderr.trim().split('\n').at(-1)?.slice(0, 200) ?? ''}`);
  return Answer.parse(JSON.parse(outcome.stdout)) as Plane;
}
