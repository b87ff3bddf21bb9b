import type { V1Container, V1Node, V1Pod } from '@kubernetes/client-node';
import { podsListed } from '../domain/facts/host-port.ts';
import type { HostPort } from '../domain/target.ts';
import type { Reader } from './api.ts';
import { probeAnnotation } from './service.ts';

/**
 * UDP ports of its node that lead to a pod, with all pods that have them now.
 * @param node of the pod
 * @param echoes a port of the pod whose application its Service lets probe; the pod's own annotation does it for all ports
 */
export async function readHostPorts(reader: Reader, node: V1Node, pod: V1Pod, echoes?: number): Promise<HostPort[]> {
  if (portsOf(pod).length === 0) return [];
  const fieldSelector = `spec.nodeName=${node.metadata?.name ?? ''}`;
  const list = await reader.may(podsListed, () => reader.core.listPodForAllNamespaces({ fieldSelector }));
  return hostPortsOf(node, pod, list?.items ?? [], echoes);
}

/** The same from the objects. @param pods those of the node */
export function hostPortsOf(node: V1Node, pod: V1Pod, pods: V1Pod[], echoes?: number): HostPort[] {
  const name = node.metadata?.name ?? '';
  const others = pods.filter(({ metadata }) => metadata?.uid !== pod.metadata?.uid);
  const mayAll = pod.metadata?.annotations?.[probeAnnotation] === 'echo';
  return portsOf(pod).flatMap(({ hostPort, containerPort, hostIP }): HostPort[] => {
    const addresses = hostIP ? [hostIP] : addressesOf(node, pod);
    const owners = [pod, ...others].flatMap((one) => ownersOf(one, hostPort, hostIP, addresses[0] ?? ''));
    const probe = mayAll || containerPort === echoes ? 'echo' : 'none';
    return addresses.length ? [{ node: name, addresses, port: hostPort, owners, probe }] : [];
  });
}

interface Port {
  hostPort: number;
  containerPort: number;
  /** The one address of the node by which it is reached; '': by all. */
  hostIP: string;
}

/** What a pod asks for; of a pod on the node's own network the API writes each port in as a host port. */
function portsOf({ spec }: V1Pod): Port[] {
  const sidecars = (spec?.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === 'Always');
  const containers: V1Container[] = [...(spec?.containers ?? []), ...sidecars];
  return containers
    .flatMap(({ ports }) => ports ?? [])
    .flatMap(({ hostPort, containerPort, hostIP = '', protocol }) =>
      // Nobody but the node itself can send to its loopback.
      protocol === 'UDP' && hostPort && !hostIP.startsWith('127.')
        ? [{ hostPort, containerPort, hostIP: ['0.0.0.0', '::'].includes(hostIP) ? '' : hostIP }]
        : [],
    );
}

/** A pod that has ended keeps its object, not its port. @param like an address of the family that counts */
function ownersOf(pod: V1Pod, wanted: number, hostIP: string, like: string): HostPort['owners'] {
  const { metadata, status } = pod;
  const all = [status?.podIP, ...(status?.podIPs ?? []).map(({ ip }) => ip)];
  const address = all.find((one) => one?.includes(':') === like.includes(':'));
  if (!address || status?.phase === 'Succeeded' || status?.phase === 'Failed') return [];
  return portsOf(pod)
    .filter((one) => one.hostPort === wanted && (!one.hostIP || !hostIP || one.hostIP === hostIP))
    .map(({ containerPort }) => ({
      pod: `${metadata?.namespace ?? ''}/${metadata?.name ?? ''}`,
      address,
      port: containerPort,
    }));
}

/** The node's own of the pod's family, the internal one first; names are none. */
function addressesOf({ status }: V1Node, pod: V1Pod): string[] {
  const six = pod.status?.podIP?.includes(':') ?? false;
  const all = (status?.addresses ?? []).filter(
    ({ type, address }) => ['InternalIP', 'ExternalIP'].includes(type) && address.includes(':') === six,
  );
  return [...new Set(all.toSorted((a, b) => b.type.localeCompare(a.type)).map(({ address }) => address))];
}
