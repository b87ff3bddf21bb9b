import type { PathService } from './target.ts';

/** One address of a Service: what backs it, and whether kube-proxy may send there. */
export interface EndpointView {
  address: string;
  port: number;
  node?: string;
  pod?: string;
  ready: boolean;
  serving: boolean;
  terminating: boolean;
}

/** A Service as the API tells it, for one of its UDP ports. */
export interface ServiceView {
  namespace: string;
  name: string;
  type: string;
  addresses: string[];
  port: number;
  protocol: string;
  targetPort: string;
  nodePort?: number;
  external: string[];
  externalPolicy: string;
  internalPolicy: string;
  affinity: string;
  affinitySeconds: number;
  endpoints: EndpointView[];
  /** Whether its slices carry hints, by which a node uses only some of the endpoints. */
  hints: boolean;
  /** Why there are no or few endpoints: pods that the selector matches, those Ready, and ports that EndpointSlices carry. */
  selector: string;
  selected: number;
  ready: number;
  slicePorts: string[];
  /** Who would undo a change of the object: a GitOps tool or operator that its marks name; '' where there are none. */
  managedBy: string;
}

/** What forwards Service traffic on the nodes, as far as the API tells. */
export interface DataPlane {
  kind: 'kube-proxy' | 'cilium' | 'ovn-kubernetes' | 'calico-ebpf' | 'unknown';
  says: string;
  /** kube-proxy's own configuration where it is in a ConfigMap, and where that is. */
  config?: { from: string; mode: string; clusterCidr: string; maxPerCore?: number; min?: number };
}

/** A NetworkPolicy that speaks of one of the ends. */
export interface PolicyView {
  name: string;
  end: 'sender' | 'receiver';
  /** Whether one of its rules allows UDP to the Service's port, whatever the peer. */
  allows: boolean;
}

/** What the API says of a target, read once a round. */
export interface ClusterView {
  service?: ServiceView;
  dataPlane: DataPlane;
  policies: PolicyView[];
  /** Nodes that Kubernetes does not call Ready, with its reason. */
  notReady: Record<string, string>;
  /** What this account may not read, and the server's words. */
  denied: Record<string, string>;
  /** Processors of each node, `status.capacity.cpu`: kube-proxy sizes the connection tracking table by them. */
  cores?: Record<string, number>;
}

/** kube-proxy on one node, and what it has programmed for the Service. */
export interface Plane {
  /** No process: it does not run here. `T`: it is stopped. */
  process?: { pid: number; state: string };
  mode: string;
  /** Its own word; absent where its metrics cannot be read. */
  version?: string;
  /** Answer of its health port; '' where nothing answers. */
  health: string;
  /** Seconds since rules were last written, and whether a newer change waits. */
  syncedAgo?: number;
  queued?: boolean;
  restoreFailures?: number;
  /** Where each of the Service's addresses leads by the rules on this node: `address:port` -> endpoints. */
  programmed?: Record<string, string[]>;
  /** Session affinity of this node for the sender: the Service's address -> the endpoint kept for it, '' where none is. */
  bound?: Record<string, string>;
  /** Chains of kube-proxy in tables of both kinds of iptables. */
  legacyChains?: number;
  /** Whether bridged packets of a pod pass the rules; absent where the node has no such setting. */
  bridgeCalls?: number;
  /** Why a part could not be read. */
  missing: Record<string, string>;
}

/** Every address and port by which a Service is reached: connection tracking names flows by these. */
export interface Frontend {
  kind: 'cluster' | 'node' | 'external' | 'host';
  address: string;
  port: number;
  /** The node whose address it is. */
  node?: string;
}

/** Those by which traffic may be translated on a node: its own ports, and what is no node's. */
export const frontendsAt = (service: PathService, node: string): Frontend[] =>
  frontendsOf(service).filter((one) => one.node === undefined || one.node === node);

/** Addresses of a Service, with those that a plain inventory does not know. */
export const frontendsOf = ({ address, port, frontends = [] }: PathService): Frontend[] => [
  ...(address ? [{ kind: 'cluster' as const, address, port }] : []),
  ...frontends,
];
