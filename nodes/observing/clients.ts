import { z } from 'zod';
import type { Frontend } from '../../domain/cluster.ts';
import { type Shell, run } from '../shells/shell.ts';

const deadlineMs = 5_000;
const mostBytes = 262_144;

/** Who sends to a Service through one node, by its connection tracking. */
export interface ClientFlow {
  address: string;
  /** It is sent to what is no endpoint. */
  stale: boolean;
}

/**
 * The clients of a Service whose flows one node tracks. Nothing is sent: these are flows that are there.
 * @param alive addresses of the endpoints
 * @throws Error that says why the node's flows could not be listed
 */
export async function clientsOn(
  shell: Shell,
  frontends: readonly Frontend[],
  alive: readonly string[],
): Promise<ClientFlow[]> {
  const script = 'for a; do conntrack -L -p udp --orig-dst "$a" 2>/dev/null; done | head -c 262144';
  const addresses = [...new Set(frontends.map(({ address }) => z.union([z.ipv4(), z.ipv6()]).parse(address)))];
  const outcome = await run(shell, {
    argv: ['sh', '-c', script, 'sh', ...addresses],
    deadlineMs,
    maxBytes: 2 * mostBytes,
  });
  if (outcome.kind !== 'exited') throw new Error(outcome.why);
  const flows = new Map<string, ClientFlow>();
  for (const line of outcome.stdout.split('\n')) {
    const [source = '', target = '', answers = ''] = ['src', 'dst', 'src'].map((name, index) => {
      const all = [...line.matchAll(new RegExp(`\\b${name}=(\\S+)`, 'g'))];
      return all[index === 2 ? 1 : 0]?.[1] ?? '';
    });
    const port = Number(/\bdport=(\d+)/.exec(line)?.[1] ?? 0);
    if (!frontends.some((one) => one.address === target && one.port === port)) continue;
    const stale = !alive.includes(answers);
    flows.set(source, { address: source, stale: stale || (flows.get(source)?.stale ?? false) });
  }
  return [...flows.values()];
}
