import type { V1EndpointSlice, V1Pod, V1Service, V1ServicePort } from '@kubernetes/client-node';
import type { EndpointView, ServiceView } from '../domain/cluster.ts';
import { ProbeKind, ServiceSpec } from '../domain/inventory.ts';
import { ownerOf } from '../domain/owner.ts';
import { TargetError } from '../domain/target.ts';
import type { Reader } from './api.ts';

/** Set on a Service by who owns it: whether undrop may send datagrams to the application, and of a DNS server its zone. */
export const probeAnnotation = 'undrop.dev/probe';
const zoneAnnotation = 'undrop.dev/zone';

/**
 * What a Service's application may be sent. A cluster's DNS server needs no word of its owner: a query for a name that its
 * own zone has not is answered from memory, and changes nothing.
 */
export function probeOf(
  { metadata, spec }: V1Service,
  { port, protocol }: ServiceView,
): Pick<ServiceSpec, 'probe' | 'zone'> {
  const { labels, annotations } = metadata ?? {};
  const said = ProbeKind.safeParse(annotations?.[probeAnnotation]).data;
  const named = spec?.ports?.find((one) => one.port === port && one.protocol === protocol)?.name ?? '';
  const isDns = port === 53 && protocol === 'UDP' && (labels?.['k8s-app'] === 'kube-dns' || /^dns(-udp)?$/.test(named));
  // A word that is not known says that somebody has thought about it, but not what.
  const probe = said ?? (isDns && annotations?.[probeAnnotation] === undefined ? 'dns' : 'none');
  const zone = ServiceSpec.shape.zone.safeParse(annotations?.[zoneAnnotation]).data;
  return { probe, ...(zone !== undefined && { zone }) };
}

/**
 * A Service with its endpoints, for one of its UDP ports.
 * @throws TargetError when there is no such Service or port; ReadError when it may not be read
 */
export async function readService(
  reader: Reader,
  namespace: string,
  name: string,
  wanted?: number,
): Promise<{ view: ServiceView; object: V1Service }> {
  const what = `the Service ${namespace}/${name}`;
  const object = await reader.may(what, () => reader.core.readNamespacedService({ namespace, name }));
  if (!object)
    throw new TargetError(reader.denied[what] ?? `the cluster has no Service ${name} in namespace ${namespace}`);
  const port = chosenPort(object, `${namespace}/${name}`, wanted);
  const labelSelector = `kubernetes.io/service-name=${name}`;
  // Without them nothing can be said: no endpoint known is not no endpoint there.
  const slices = await reader.must(`EndpointSlices in ${namespace}`, () =>
    reader.discovery.listNamespacedEndpointSlice({ namespace, labelSelector }),
  );
  const selector = Object.entries(object.spec?.selector ?? {}).map(([key, value]) => `${key}=${value}`).join(','); // prettier-ignore
  const pods = selector
    ? await reader.may(`Pods in ${namespace}`, () =>
        reader.core.listNamespacedPod({ namespace, labelSelector: selector }),
      )
    : undefined;
  return { object, view: viewOf(object, port, slices.items, pods?.items ?? [], selector) };
}

function chosenPort({ spec }: V1Service, name: string, wanted: number | undefined): V1ServicePort {
  const ports = spec?.ports ?? [];
  const fitting = wanted === undefined ? ports : ports.filter(({ port }) => port === wanted);
  // A Service whose port is TCP by mistake is a finding, and no wrong question.
  const found = fitting.find(({ protocol }) => protocol === 'UDP') ?? fitting[0];
  if (found) return found;
  const there = ports.map(({ port, protocol = 'TCP' }) => `${port}/${protocol}`).join(', ');
  throw new TargetError(
    `the Service ${name} has no port${wanted === undefined ? '' : ` ${wanted}`}; it has: ${there || 'none'}`,
  );
}

function viewOf(
  { metadata, spec, status }: V1Service,
  port: V1ServicePort,
  all: V1EndpointSlice[],
  pods: V1Pod[],
  selector: string,
): ServiceView {
  const ready = ({ status: of }: V1Pod): boolean =>
    of?.conditions?.some(({ type, status: is }) => type === 'Ready' && is === 'True') ?? false;
  // A Service of two families has each endpoint twice, by both its addresses; probes go to its first.
  const family = spec?.ipFamilies?.[0] ?? 'IPv4';
  const slices = all.filter(({ addressType }) => addressType === family);
  const balancer = (status?.loadBalancer?.ingress ?? []).flatMap(({ ip }) => ip ?? []);
  return {
    namespace: metadata?.namespace ?? '',
    name: metadata?.name ?? '',
    type: spec?.type ?? 'ClusterIP',
    addresses: (spec?.clusterIPs ?? []).filter((address) => address !== 'None' && address !== ''),
    port: port.port,
    protocol: port.protocol ?? 'TCP',
    targetPort: String(port.targetPort ?? port.port),
    ...(port.nodePort !== undefined && { nodePort: port.nodePort }),
    external: [...(spec?.externalIPs ?? []), ...balancer],
    externalPolicy: spec?.externalTrafficPolicy ?? 'Cluster',
    internalPolicy: spec?.internalTrafficPolicy ?? 'Cluster',
    affinity: spec?.sessionAffinity ?? 'None',
    affinitySeconds: spec?.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? 0,
    endpoints: slices.flatMap((slice) => endpointsOf(slice, port)),
    hints: slices.some(({ endpoints }) => (endpoints ?? []).some((one) => (one.hints?.forZones?.length ?? 0) > 0)),
    selector,
    selected: pods.length,
    ready: pods.filter(ready).length,
    slicePorts: [
      ...new Set(
        slices.flatMap(({ ports }) => (ports ?? []).map((one) => `${one.port ?? '?'}/${one.protocol ?? 'TCP'}`)),
      ),
    ],
    managedBy: ownerOf(metadata ?? {}).tool,
  };
}

/** The endpoints of one slice that carry the Service's port; those of a slice without it are none. */
function endpointsOf({ endpoints, ports }: V1EndpointSlice, wanted: V1ServicePort): EndpointView[] {
  // The API says null for a slice that is empty, whatever the types say.
  const port = (ports ?? []).find((one) => one.protocol === 'UDP' && (one.name ?? '') === (wanted.name ?? ''))?.port;
  if (port === undefined) return [];
  return (endpoints ?? []).flatMap(({ addresses, conditions, nodeName, targetRef }) =>
    addresses.slice(0, 1).map((address) => ({
      address,
      port,
      ...(nodeName && { node: nodeName }),
      ...(targetRef?.kind === 'Pod' && targetRef.name && { pod: targetRef.name }),
      // What is not said counts as ready and serving (EndpointConditions in the discovery API).
      ready: conditions?.ready !== false,
      serving: conditions?.serving ?? conditions?.ready !== false,
      terminating: conditions?.terminating === true,
    })),
  );
}
