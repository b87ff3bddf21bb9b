import type { ServiceEndpoints } from '../cluster/index.ts';
import { frontendsOf } from '../domain/cluster.ts';
import { type Evidence, fullSample } from '../domain/evidence.ts';
import type { Inventory } from '../domain/inventory.ts';
import type { Operation } from '../domain/operation.ts';
import type { Plan, PlannedChange } from '../domain/plan.ts';
import type { Place } from '../domain/target.ts';
import { type TrackedFlows, trackedFlows } from '../nodes/observing/flows.ts';
import type { Deps } from './deps.ts';

type Radius = Plan['radius'];

/** What else lives where the changes happen, as far as the inventory or the cluster can tell. */
export async function radiusOf(
  { inventory, shells }: Pick<Deps, 'inventory' | 'shells'>,
  evidence: Evidence,
  changes: readonly PlannedChange[],
): Promise<Radius> {
  const places = evidence.path.places.filter(({ name }) => changes.some(({ place }) => place === name));
  if (!inventory.kubernetes) return ofInventory(inventory, evidence, places);
  const [cluster, { config }] = await Promise.all([import('../cluster/index.ts'), shells.cluster()]);
  const reader = new cluster.Reader(config);
  const endpoints = await cluster.allEndpoints(reader);
  const operations = changes.flatMap((change) => change.operations);
  // Entries are named exactly: nothing else of the node is touched.
  if (operations.every(({ kind }) => kind.startsWith('conntrack.')))
    return ofEntries(operations, evidence, endpoints, reader.denied);
  // In a pod's own namespace a change reaches that pod alone.
  const own = places.filter(({ address, nodeAddress }) => address !== nodeAddress).map(({ address }) => address);
  const nodes = [
    ...new Set(places.flatMap(({ node, address, nodeAddress }) => (address === nodeAddress ? [node] : []))),
  ];
  const [pods, flows] = await Promise.all([
    Promise.all(nodes.map(async (node) => cluster.podsOn(reader, node))),
    Promise.all(nodes.map(async (node) => trackedFlows(shells.of(node)).catch(() => undefined))),
  ]);
  const there = endpoints
    ?.filter((one) => onNodes(one, nodes, flows) || hasOne(one, own))
    .map(({ service }) => service);
  return {
    flows: trackedAt(evidence, places),
    ...(nodes.length && { udp: sum(flows.map((one) => one?.udp)) }),
    pods: sum([...pods, own.length]),
    ...(there
      ? { services: there }
      : { services: [], unlisted: Object.values(reader.denied).join('; ') || 'not listed' }),
  };
}

const hasOne = ({ addresses }: ServiceEndpoints, own: readonly string[]): boolean =>
  own.some((address) => [...addresses].some((one) => one.startsWith(`${address}:`)));

/** Whether a Service has an endpoint on one of the nodes, or a client: a flow of the node that one of its endpoints answers. */
function onNodes(
  { nodes: own, addresses }: ServiceEndpoints,
  nodes: readonly string[],
  flows: readonly (TrackedFlows | undefined)[],
): boolean {
  return (
    nodes.some((node) => own.has(node)) ||
    flows.some((one) => Object.keys(one?.to ?? {}).some((address) => addresses.has(address)))
  );
}

/** What entries belong to. @param endpoints of all Services; undefined where the API denied them, and `denied` says how */
export function ofEntries(
  operations: readonly Operation[],
  { path }: Pick<Evidence, 'path'>,
  endpoints: readonly ServiceEndpoints[] | undefined,
  denied: Record<string, string> = {},
): Radius {
  const own = path.service && frontendsOf(path.service).map(({ address, port }) => `${address}:${port}`);
  const to = operations.flatMap((one) =>
    one.kind === 'conntrack.delete' || one.kind === 'conntrack.evict'
      ? [`${one.destination}:${one.destinationPort}`]
      : [],
  );
  const others = to.filter((address) => !own?.includes(address));
  const flows = operations.reduce((all, one) => all + (one.kind === 'conntrack.evict' ? one.entries : 1), 0);
  if (!endpoints && others.length > 0)
    return { flows, exact: true, services: [], unlisted: Object.values(denied).join('; ') || 'not listed' };
  const named = path.service && others.length < to.length ? [path.service.name.split('.').toReversed().join('/')] : [];
  const found = endpoints?.filter(({ addresses }) => others.some((one) => addresses.has(one))) ?? [];
  return { flows, exact: true, services: [...new Set([...named, ...found.map(({ service }) => service)])] };
}

/** Null where one is not known. */
const sum = (counts: readonly (number | undefined)[]): number | null =>
  counts.includes(undefined) ? null : counts.reduce<number>((all, one) => all + (one ?? 0), 0);

const trackedAt = (evidence: Evidence, places: readonly Place[]): number | null =>
  sum(places.map(({ name }) => fullSample(evidence, name)?.gauges['nf_conntrack_count']));

/** Tracked flows, and Services with an endpoint on a node: an inventory knows no more. */
function ofInventory(inventory: Inventory, evidence: Evidence, places: readonly Place[]): Radius {
  const nodes = new Set(places.map(({ node }) => node));
  const there = new Set([
    ...Object.values(inventory.pods).flatMap(({ node, address }) => (nodes.has(node) ? [address] : [])),
    ...[...nodes].flatMap((node) => inventory.nodes[node]?.address ?? []),
  ]);
  const services = Object.entries(inventory.services).flatMap(([name, { endpoints }]) =>
    endpoints.some(({ address }) => there.has(address)) ? [name] : [],
  );
  return { flows: trackedAt(evidence, places), services };
}
