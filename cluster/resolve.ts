import type { V1Node, V1Pod, V1Service } from '@kubernetes/client-node';
import type { ClusterView, Frontend, ServiceView } from '../domain/cluster.ts';
import { type End, textOf } from '../domain/cluster-target.ts';
import { podsListed } from '../domain/facts/host-port.ts';
import { type Path, type PathService, type Place, type Role, TargetError } from '../domain/target.ts';
import type { Reader } from './api.ts';
import { readDataPlane } from './data-plane.ts';
import { readHostPorts } from './host-ports.ts';
import { readPolicies } from './policies.ts';
import { probeAnnotation, readService } from './service.ts';

/** A Service may have a thousand endpoints; so many are looked at beside the one that is probed. */
const mostOthers = 3;
/** So many nodes' own addresses are first hops of a node port that is probed. */
const mostNodePorts = 1;

/** A path of a cluster before its pods' processes are known on their nodes. */
export interface Resolved {
  path: Path;
  view: ClusterView;
}

/**
 * The path between two ends, every place on it, and what the API says of it.
 * @throws TargetError when there is no such object; ReadError when the API does not answer
 */
export async function resolvePath(reader: Reader, from: End, to: End): Promise<Resolved> {
  if (from.kind === 'service' || from.kind === 'own') throw new TargetError('a path starts at a pod or node');
  const nodes = await readNodes(reader);
  const at = new Places(nodes);
  const sender = await at.of(reader, from, 'sender');
  const plane = readDataPlane(reader);
  const service = to.kind === 'service' ? await readService(reader, to.namespace, to.name, to.port) : undefined;
  const receivers =
    to.kind === 'service'
      ? await endpointPlaces(reader, at, service?.view, to.endpoint, sender.place)
      : [await at.of(reader, to, 'receiver')];
  const last = receivers.at(-1);
  const frontends = service ? furtherAddresses(service.view, nodes, sender.place) : [];
  const hops = new Map<string, Place>();
  const hop = (name: string): void => {
    if (name !== sender.place.name && !receivers.some(({ place }) => place.name === name))
      hops.set(name, at.node(name, 'hop'));
  };
  hop(sender.place.node);
  for (const frontend of frontends.slice(0, mostNodePorts))
    if (frontend.kind === 'node' && frontend.node) hop(frontend.node);
  for (const { place } of receivers) hop(place.node);
  // The node of the probed endpoint stands last before it, as a datagram meets them.
  const end = last && last.place.node !== sender.place.node ? hops.get(last.place.node) : undefined;
  if (end) hops.delete(end.name);
  const others = receivers.slice(0, -1).map(({ place }) => place);
  const peer = await peerOf(reader, at, sender);
  const ends = [
    ...(sender.pod ? [{ end: 'sender' as const, pod: sender.pod }] : []),
    ...receivers.flatMap(({ pod }) => (pod ? [{ end: 'receiver' as const, pod }] : [])),
  ];
  const backend = service?.view.endpoints[0]?.port ?? 0;
  const hostPorts =
    last?.pod && (await readHostPorts(reader, at.object(last.place.node), last.pod, echoedPort(service, last)));
  const view: ClusterView = {
    dataPlane: await plane,
    policies: service ? await readPolicies(reader, ends, backend) : [],
    notReady: notReady(nodes),
    cores: Object.fromEntries(
      nodes.map(({ metadata, status }) => [metadata?.name ?? '', Number(status?.capacity?.['cpu'] ?? 0)]),
    ),
    denied: reader.denied,
    ...(service && { service: service.view }),
  };
  const path: Path = {
    text: `${textOf(from)}->${textOf(to)}`,
    places: [sender.place, ...hops.values(), ...others, ...(end ? [end] : []), ...(last ? [last.place] : [])],
    ...(peer && { peer }),
    ...(service && { service: pathService(service.view, service.object.metadata?.annotations ?? {}, frontends) }),
    ...(hostPorts && { hostPorts }),
  };
  return { path, view };
}

export const readNodes = (reader: Reader): Promise<V1Node[]> =>
  reader.must('listing nodes', () => reader.core.listNode()).then(({ items }) => items);

/** One node as a place. @throws TargetError when there is no such node */
export async function nodePlace(reader: Reader, name: string): Promise<Place> {
  return new Places(await readNodes(reader)).node(name, 'hop');
}

interface Found {
  place: Place;
  pod?: V1Pod;
}

/** Places by what the API knows of nodes and pods. */
class Places {
  private readonly nodes: Map<string, V1Node>;
  constructor(nodes: V1Node[]) {
    this.nodes = new Map(nodes.map((node) => [node.metadata?.name ?? '', node]));
  }

  async of(reader: Reader, end: End, role: Role): Promise<Found> {
    if (end.kind === 'node') return { place: this.node(end.name, role) };
    const { namespace = '', name } = end as { namespace?: string; name: string };
    const what = `the Pod ${namespace}/${name}`;
    const pod = await reader.may(what, () => reader.core.readNamespacedPod({ namespace, name }));
    if (!pod) throw new TargetError(reader.denied[what] ?? `the cluster has no pod ${name} in namespace ${namespace}`);
    return { place: this.pod(pod, role), pod };
  }

  node(name: string, role: Role): Place {
    const node = this.nodes.get(name);
    if (!node)
      throw new TargetError(
        `the cluster has no node ${name}; it has: ${[...this.nodes.keys()].slice(0, 20).join(', ')}`,
      );
    const address = addressOf(node);
    return { name, role, node: name, address, nodeAddress: address, uid: node.metadata?.uid ?? '' };
  }

  /** A node that a place was made of. */
  object(name: string): V1Node {
    return this.nodes.get(name) ?? {};
  }

  /** A pod of the host's network is its node, under the node's own name. */
  pod({ metadata, spec, status }: V1Pod, role: Role): Place {
    const [name, namespace, node, address] = [
      metadata?.name ?? '',
      metadata?.namespace ?? '',
      spec?.nodeName,
      status?.podIP,
    ];
    if (status?.phase !== 'Running' || !node || !address)
      throw new TargetError(
        `the pod ${namespace}/${name} does not run (${status?.phase ?? 'no state'}), so nothing can be sent from or to it`,
      );
    if (spec?.hostNetwork) return this.node(node, role);
    const nodeAddress = this.node(node, role).address;
    return { name: `${name}.${namespace}`, role, node, address, nodeAddress, uid: metadata?.uid ?? '' };
  }
}

const addressOf = ({ metadata, status }: V1Node): string => {
  const internal = status?.addresses?.find(({ type }) => type === 'InternalIP');
  if (!internal) throw new TargetError(`the node ${metadata?.name ?? ''} has no internal address`);
  return internal.address;
};

function notReady(nodes: V1Node[]): Record<string, string> {
  return Object.fromEntries(
    nodes.flatMap(({ metadata, status }) => {
      const ready = status?.conditions?.find(({ type }) => type === 'Ready');
      return ready?.status === 'True' ? [] : [[metadata?.name ?? '', ready?.message ?? 'it reports no state']];
    }),
  );
}

/** The endpoints to look at; the one that is probed comes last: the wanted one, else one on another node than the sender. */
async function endpointPlaces(
  reader: Reader,
  at: Places,
  service: ServiceView | undefined,
  wanted: string | undefined,
  sender: Place,
): Promise<Found[]> {
  const serving = (service?.endpoints ?? []).filter((one) => one.serving && one.pod !== undefined);
  const rank = ({ pod, node }: (typeof serving)[number]): number => (pod === wanted ? 2 : node === sender.node ? 0 : 1);
  const chosen = serving.toSorted((a, b) => rank(b) - rank(a) || (a.pod ?? '').localeCompare(b.pod ?? ''));
  if (wanted !== undefined && chosen[0]?.pod !== wanted) {
    const there = serving.map(({ pod }) => pod).join(', ');
    throw new TargetError(
      `${wanted} is no serving endpoint of the Service ${service?.name}; there are: ${there || 'none'}`,
    );
  }
  const found = await Promise.all(
    chosen.slice(0, mostOthers + 1).map(async ({ pod = '' }): Promise<Found | undefined> => {
      const end: End = { kind: 'pod', namespace: service?.namespace ?? '', name: pod };
      // An endpoint may go while we look.
      return at.of(reader, end, 'receiver').catch((error: unknown) => {
        if (error instanceof TargetError) return undefined;
        throw error;
      });
    }),
  );
  return found.flatMap((one) => (one && one.place.name !== sender.name ? [one] : [])).toReversed();
}

/** Further addresses of the Service. With policy Local a node without an endpoint comes first: there it must fail. */
function furtherAddresses(service: ServiceView, nodes: V1Node[], sender: Place | undefined): Frontend[] {
  const external = service.external.map((address): Frontend => ({ kind: 'external', address, port: service.port }));
  const { nodePort } = service;
  if (nodePort === undefined) return external;
  const local = new Set(service.endpoints.flatMap(({ node }) => node ?? []));
  const rank = (name: string): number =>
    (name === sender?.node ? 2 : 0) + (service.externalPolicy === 'Local' && !local.has(name) ? 0 : 1);
  const ports = nodes
    .map((node): Frontend => ({
      kind: 'node',
      address: addressOf(node),
      port: nodePort,
      node: node.metadata?.name ?? '',
    }))
    .toSorted((a, b) => rank(a.node ?? '') - rank(b.node ?? ''));
  return [...ports, ...external];
}

/** Another pod of the sender's node with a network namespace of its own. */
async function peerOf(reader: Reader, at: Places, { place, pod }: Found): Promise<Place | undefined> {
  if (!pod || pod.spec?.hostNetwork) return undefined;
  const fieldSelector = `spec.nodeName=${place.node},status.phase=Running`;
  const list = await reader.may(podsListed, () => reader.core.listPodForAllNamespaces({ fieldSelector }));
  const peer = list?.items.find(
    ({ metadata, spec, status }) =>
      !spec?.hostNetwork && status?.podIP && !metadata?.deletionTimestamp && metadata?.uid !== place.uid,
  );
  return peer && at.pod(peer, 'sender');
}

/** The port of a probed endpoint where its Service lets the application be probed. */
function echoedPort(service: { view: ServiceView; object: V1Service } | undefined, { pod }: Found): number | undefined {
  if (!service || service.object.metadata?.annotations?.[probeAnnotation] !== 'echo') return undefined;
  return service.view.endpoints.find((one) => one.pod === pod?.metadata?.name)?.port;
}

function pathService(service: ServiceView, annotations: Record<string, string>, frontends: Frontend[]): PathService {
  return {
    name: `${service.name}.${service.namespace}`,
    address: service.addresses[0] ?? '',
    port: service.port,
    endpoints: service.endpoints.filter(({ serving }) => serving).map(({ address, port }) => ({ address, port })),
    probe: annotations[probeAnnotation] === 'echo' ? 'echo' : 'none',
    frontends,
  };
}

/** The Service as paths have it, seen from no node in particular. */
export function serviceOfPaths(service: ServiceView, object: V1Service, nodes: V1Node[]): PathService {
  return pathService(service, object.metadata?.annotations ?? {}, furtherAddresses(service, nodes, undefined));
}
