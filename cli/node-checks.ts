import { nodesOf } from '../activities/cluster-nodes.ts';
import type { Checks } from '../domain/audit-checks.ts';
import { expression, template } from '../domain/cel.ts';
import type { Inventory } from '../domain/inventory.ts';
import type { Sample } from '../domain/sample.ts';
import type { Place } from '../domain/target.ts';
import { takeSample } from '../nodes/sampling/sample.ts';
import { ShellPool } from '../nodes/shells/pool.ts';
import { loadChecks, loadRunbook } from '../runbooks/load.ts';
import { textOf } from './checks.ts';
import type { Finding } from './commands/doctor.ts';

/** What a stock node may lack, and what goes untested or undone without it. */
const wanted: [tool: string, without: string][] = [
  ['python', 'no probe can be sent from or received there'],
  ['conntrack', 'stale entries cannot be seen or deleted'],
  ['ethtool', 'offloads cannot be seen or changed'],
  ['tc', 'dropping queues cannot be seen'],
  ['ip', 'links, routes and neighbours cannot be seen'],
  ['flock', 'nothing can be changed safely'],
];

/** Reads every node and pod at once; a dead one is named and delays no other. */
export async function* checkNodes(inventory: Inventory): AsyncGenerator<Finding> {
  const shells = new ShellPool(inventory);
  const checks = loadChecks(loadRunbook());
  const places = [
    ...(inventory.kubernetes ? await clusterPlaces(shells) : []),
    ...Object.entries(inventory.nodes).map(([name, { address }]): Place => ({
      name,
      role: 'hop',
      node: name,
      address,
      nodeAddress: address,
    })),
    ...Object.entries(inventory.pods).map(([name, { node, address, netns, pid }]): Place => {
      const inside = { ...(netns !== undefined && { netns }), ...(pid !== undefined && { pid }) };
      return { name, role: 'hop', node, address, nodeAddress: address, ...inside };
    }),
  ];
  try {
    for (const finding of await Promise.all(places.map((place) => checkPlace(shells, checks, place)))) yield finding;
  } finally {
    await shells.close();
  }
}

async function checkPlace(shells: ShellPool, checks: Checks, place: Place): Promise<Finding> {
  const about = place.netns === undefined && place.pid === undefined ? place.name : `${place.name} on ${place.node}`;
  const started = Date.now();
  try {
    const sample = await takeSample(shells.of(place.node), place, { mode: 'full', routes: [], flowsTo: [] });
    const lacks = [...blindness(sample, checks), ...lacking(sample)];
    const ms = Date.now() - started;
    return {
      about,
      state: lacks.length ? 'warn' : 'ok',
      says: [`Linux ${sample.kernel}, read in ${ms} ms`, ...lacks].join('; '),
    };
  } catch (error) {
    return { about, state: 'bad', says: textOf(error) };
  }
}

function lacking({ tools, root, missing, cut }: Sample): string[] {
  const without = wanted
    .filter(([tool]) => !tools.includes(tool))
    .map(([tool, why]) => `no ${tool === 'python' ? 'python3' : tool}: ${why}`);
  const firewall = ['nft', 'iptables-save'].some((tool) => tools.includes(tool))
    ? []
    : ['neither nft nor iptables: rules that drop cannot be seen'];
  const rights = root ? [] : ['not root: much cannot be read and nothing changed'];
  const unread = Object.entries(missing)
    .filter(([part]) => part !== 'arp')
    .map(([part, why]) => `${part} not read (${why})`);
  return [...without, ...firewall, ...rights, ...unread, ...cut.map((part) => `${part} was cut at its bound`)];
}

/** Nodes of a cluster, each as a place; none where the API does not answer, which is said elsewhere. */
async function clusterPlaces(shells: ShellPool): Promise<Place[]> {
  try {
    return (await nodesOf(await shells.cluster())).map(({ metadata, status }): Place => {
      const name = metadata?.name ?? '';
      const address = status?.addresses?.find(({ type }) => type === 'InternalIP')?.address ?? '';
      return { name, role: 'hop', node: name, address, nodeAddress: address };
    });
  } catch {
    return [];
  }
}

/** A node whose table fills up goes blind. Audits look for the same: the limit and the sentence are theirs. */
export function blindness({ gauges }: Pick<Sample, 'gauges'>, { checks }: Checks): string[] {
  const check = checks.find(({ id }) => id === 'goes-blind');
  const { nf_conntrack_count: count = 0, nf_conntrack_max: max = 0 } = gauges;
  if (max === 0 || !check) return [];
  const facts = { now: { ...gauges, fill: count / max, tracked: 'unknown' } };
  return expression(check.when, 'audit').evaluate(facts) === true ? [template(check.says, 'audit')(facts)] : [];
}
