import { type Evidence, fullSample } from '../domain/evidence.ts';
import type { Inventory } from '../domain/inventory.ts';
import type { Plan } from '../domain/plan.ts';
import type { Place } from '../domain/target.ts';

/** What else lives there: tracked flows (null where the table cannot be read) and Services with an endpoint on the node. */
export function radiusOf(inventory: Inventory, evidence: Evidence, places: Place[]): Plan['radius'] {
  const counts = places.map(({ name }) => fullSample(evidence, name)?.gauges['nf_conntrack_count']);
  const flows = counts.includes(undefined) ? null : counts.reduce<number>((sum, one) => sum + (one ?? 0), 0);
  const nodes = new Set(places.map(({ node }) => node));
  const there = new Set([
    ...Object.values(inventory.pods).flatMap(({ node, address }) => (nodes.has(node) ? [address] : [])),
    ...[...nodes].flatMap((node) => inventory.nodes[node]?.address ?? []),
  ]);
  const services = Object.entries(inventory.services).flatMap(([name, { endpoints }]) =>
    endpoints.some(({ address }) => there.has(address)) ? [name] : [],
  );
  return { flows, services };
}
