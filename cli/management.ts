import { readFileSync } from 'node:fs';
import type { Inventory } from '../domain/inventory.ts';
import { tracksManagement } from '../nodes/observing/management.ts';
import { ShellPool } from '../nodes/shells/pool.ts';
import type { Finding } from './commands/doctor.ts';

const usualPort = 10_250;
const mostNames = 5;

/** A file for nodes that undrop writes nowhere: whoever sets nodes up loads it. */
export interface ProposedFile {
  path: string;
  text: string;
  /** What works no longer, or otherwise, once it is loaded. */
  traps: string[];
  apply: string;
}

/** The rules that leave the kubelet's port and the loopback streams of exec untracked. */
export const notrackFile = (port = usualPort): ProposedFile => ({
  path: '/etc/nftables.d/notrack-management.nft',
  text: readFileSync(new URL('notrack-management.nft', import.meta.url), 'utf8').replaceAll(
    String(usualPort),
    String(port),
  ),
  traps: [
    `rules that let in what is ESTABLISHED no longer match port ${port} and 127.0.0.1: a firewall that drops the rest must accept them without a state, or as UNTRACKED`,
    'what is translated needs tracking: NodePorts and hostPorts are no longer reached by way of 127.0.0.1 over TCP',
  ],
  apply: 'nft -f /etc/nftables.d/notrack-management.nft, on each node and at each boot; try one node first',
});

/** Whether nodes of a cluster would go blind when their table is full, and the file that helps. */
export async function* checkManagement(inventory: Inventory): AsyncGenerator<Finding> {
  if (!inventory.kubernetes) return;
  const shells = new ShellPool(inventory);
  try {
    const [{ Reader, readNodes }, { config }] = await Promise.all([import('../cluster/index.ts'), shells.cluster()]);
    const nodes = (await readNodes(new Reader(config))).map(({ metadata, status }) => ({
      name: metadata?.name ?? '',
      port: status?.daemonEndpoints?.kubeletEndpoint?.Port ?? usualPort,
    }));
    const tracked = await Promise.all(
      nodes.map(async ({ name, port }) => tracksManagement(shells.of(name), port).catch(() => undefined)),
    );
    const blind = nodes.filter((_, index) => tracked[index]);
    if (blind.length > 0) yield found(blind);
  } catch {
    // That the API does not answer is said elsewhere.
  } finally {
    await shells.close();
  }
}

function found(blind: { name: string; port: number }[]): Finding {
  const names = blind.slice(0, mostNames).map(({ name }) => name);
  const more = blind.length > mostNames ? [`+${blind.length - mostNames} more`] : [];
  const [first] = blind;
  return {
    about: 'management',
    state: 'warn',
    says: `${[...names, ...more].join(', ')}: the way in is tracked (kubelet port ${first?.port}, and loopback), so that a full conntrack table refuses every new exec and nobody sees why. Sessions that are open stay; to let new ones in, set nodes up with this file, which undrop never loads itself`,
    proposal: notrackFile(first?.port),
  };
}
