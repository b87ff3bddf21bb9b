import type { Frontend } from './cluster.ts';
import type { Inventory, ServiceSpec } from './inventory.ts';

/** Where on the path a place stands: it sends the probes, forwards them, or receives them. */
export type Role = 'sender' | 'hop' | 'receiver';

/** One network namespace of one node: what a sample reads and a cause is judged at. */
export interface Place {
  name: string;
  role: Role;
  node: string;
  address: string;
  /** The address of its node: where a tunnel to this place ends. */
  nodeAddress: string;
  /** Set for a pod: its namespace on the node. Not set: the namespace in which the node's shell stands. */
  netns?: string;
  pid?: number;
  /** What it is in a cluster: names are given anew, these are not. */
  uid?: string;
}

/** What is diagnosed: from one place to another, with every place on the way that can be read. */
export interface Path {
  text: string;
  places: Place[];
  /** Another pod on the sender's node: it sends at the same time where two sources must collide. */
  peer?: Place;
  service?: PathService;
  /** UDP ports of the receiver's node that lead to the receiver. Known where that is a pod of a cluster. */
  hostPorts?: HostPort[];
}

/** A UDP port of a node that leads to a pod: by the CNI's portmap, or as the pod is on the node's own network. */
export interface HostPort {
  node: string;
  /** By which it is reached; probes go to the first. */
  addresses: string[];
  port: number;
  /** Pods of the node that have it now: two of them while one is replaced. */
  owners: { pod: string; address: string; port: number }[];
  /** Whether the application behind it may be probed. */
  probe: 'echo' | 'none';
}

export interface PathService extends ServiceSpec {
  name: string;
  /** Further addresses that lead to it: node ports, external addresses, ports of hosts. */
  frontends?: Frontend[];
}

/** The end that receives: undrop's listener is there. A Service without endpoints has none. */
export function receiverOf({ places }: Path): Place | undefined {
  const last = places.at(-1);
  return last?.role === 'receiver' ? last : undefined;
}

export class TargetError extends Error {}

/**
 * Resolves `FROM->TO`: both a node or a pod, or TO a Service.
 * @throws TargetError that names what is unknown and what there is
 */
export function resolveTarget(inventory: Inventory, text: string): Path {
  const match = /^\s*([^\s>]+?)\s*->\s*([^\s>]+)\s*$/.exec(text);
  if (!match) throw new TargetError(`the target "${text}" is not FROM->TO, such as 'web-1->dns'`);
  const [, fromName = '', toName = ''] = match;
  const from = place(inventory, fromName, 'sender');
  const service = own(inventory.services, toName);
  const to = service ? endpointPlace(inventory, toName, service) : place(inventory, toName, 'receiver');
  if (from.name === to.name) throw new TargetError(`${fromName} is both ends of the path`);
  const hops = hopsBetween(inventory, from, to).filter((name) => name !== from.name && name !== to.name);
  const peer = Object.entries(inventory.pods).find(
    ([name, pod]) =>
      pod.node === from.node && name !== from.name && name !== to.name && Object.hasOwn(inventory.pods, from.name),
  );
  return {
    text: `${fromName}->${toName}`,
    places: [from, ...hops.map((name) => place(inventory, name, 'hop')), to],
    ...(peer && { peer: place(inventory, peer[0], 'sender') }),
    ...(service && { service: { ...service, name: toName } }),
  };
}

/** Names come from people: `constructor` is a name like any other, and not what every object inherits. */
const own = <T>(all: Record<string, T>, name: string): T | undefined =>
  Object.hasOwn(all, name) ? all[name] : undefined;

function place(inventory: Inventory, name: string, role: Role): Place {
  const node = own(inventory.nodes, name);
  if (node) return { name, role, node: name, address: node.address, nodeAddress: node.address };
  const pod = own(inventory.pods, name);
  if (!pod) {
    if (own(inventory.services, name))
      throw new TargetError(`${name} is a Service, and a path starts at a node or pod`);
    const names = [...Object.keys(inventory.nodes), ...Object.keys(inventory.pods), ...Object.keys(inventory.services)];
    throw new TargetError(`the inventory has no "${name}"; it has: ${names.join(', ')}`);
  }
  return {
    name,
    role,
    node: pod.node,
    address: pod.address,
    nodeAddress: inventory.nodes[pod.node]?.address ?? pod.address,
    ...(pod.netns !== undefined && { netns: pod.netns }),
    ...(pod.pid !== undefined && { pid: pod.pid }),
  };
}

function endpointPlace(inventory: Inventory, name: string, service: ServiceSpec): Place {
  for (const endpoint of service.endpoints) {
    const all = [...Object.entries(inventory.pods), ...Object.entries(inventory.nodes)];
    const found = all.find(([, place]) => place.address === endpoint.address);
    if (found) return place(inventory, found[0], 'receiver');
  }
  throw new TargetError(
    `the Service ${name} has no endpoint whose address is a pod or node of the inventory, so its path cannot be read`,
  );
}

/** The nodes between two places in their order: first the sender's, then what `paths` names, then the receiver's. */
function hopsBetween(inventory: Inventory, from: Place, to: Place): string[] {
  if (from.node === to.node) return [from.node];
  const direct = inventory.paths.find(({ between: [a, b] }) => a === from.node && b === to.node);
  const back = inventory.paths.find(({ between: [a, b] }) => b === from.node && a === to.node);
  return [from.node, ...(direct?.via ?? back?.via.toReversed() ?? []), to.node];
}
