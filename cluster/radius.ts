import type { V1EndpointSlice } from '@kubernetes/client-node';
import type { Reader } from './api.ts';

/** A cluster may have thousands of slices: so many come with one answer. */
const pageSize = 500;

/** Where the endpoints of one Service are: nodes, and `address:port` as flows are named by. */
export interface ServiceEndpoints {
  /** `namespace/name` */
  service: string;
  nodes: Set<string>;
  addresses: Set<string>;
}

/** Every Service that has an endpoint. Undefined where EndpointSlices of all namespaces may not be listed. */
export async function allEndpoints(reader: Reader): Promise<ServiceEndpoints[] | undefined> {
  const found = new Map<string, ServiceEndpoints>();
  let next: string | undefined;
  do {
    const list = await reader.may('EndpointSlices of all namespaces', () =>
      reader.discovery.listEndpointSliceForAllNamespaces({ limit: pageSize, ...(next && { _continue: next }) }),
    );
    if (!list) return undefined;
    for (const slice of list.items) add(found, slice);
    next = list.metadata?._continue;
  } while (next);
  return [...found.values()];
}

function add(found: Map<string, ServiceEndpoints>, { metadata, endpoints, ports }: V1EndpointSlice): void {
  const name = metadata?.labels?.['kubernetes.io/service-name'];
  if (name === undefined) return;
  const service = `${metadata?.namespace ?? ''}/${name}`;
  const one = found.get(service) ?? { service, nodes: new Set(), addresses: new Set() };
  // The API says null for a slice that is empty, whatever the types say.
  for (const { nodeName, addresses } of endpoints ?? []) {
    if (nodeName) one.nodes.add(nodeName);
    for (const address of addresses) for (const { port } of ports ?? []) one.addresses.add(`${address}:${port ?? ''}`);
  }
  found.set(service, one);
}

/** How many pods run on a node, those of its own network with them. Undefined where pods may not be listed. */
export async function podsOn(reader: Reader, node: string): Promise<number | undefined> {
  const fieldSelector = `spec.nodeName=${node},status.phase=Running`;
  const list = await reader.may('Pods of all namespaces', () =>
    reader.core.listPodForAllNamespaces({ fieldSelector, limit: pageSize }),
  );
  return list && list.items.length + (list.metadata?.remainingItemCount ?? 0);
}
