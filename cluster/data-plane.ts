import { parse } from 'yaml';
import type { DataPlane } from '../domain/cluster.ts';
import type { Reader } from './api.ts';

/** Agents of networks that forward Service traffic themselves, by a label of their pods. */
const others: [selector: string, kind: DataPlane['kind'], name: string][] = [
  ['k8s-app=cilium', 'cilium', 'Cilium'],
  ['app=ovnkube-node', 'ovn-kubernetes', 'OVN-Kubernetes'],
];

const configMap = 'the ConfigMap kube-system/kube-proxy';

/** What forwards Service traffic in this cluster: kube-proxy and how it is set up, or what stands in its place. */
export async function readDataPlane(reader: Reader): Promise<DataPlane> {
  const [map, ...agents] = await Promise.all([
    reader.may(configMap, () => reader.core.readNamespacedConfigMap({ namespace: 'kube-system', name: 'kube-proxy' })),
    ...others.map(([labelSelector]) =>
      reader.may('Pods of all namespaces', () => reader.core.listPodForAllNamespaces({ labelSelector, limit: 1 })),
    ),
  ]);
  const config = map?.data && kubeProxyConfig(map.data);
  const agent = others.find((_, index) => (agents[index]?.items.length ?? 0) > 0);
  if (agent && !config) {
    const refused = configMap in reader.denied;
    const proxy = refused ? 'what kube-proxy does may not be read' : 'kube-proxy has no configuration';
    return { kind: agent[1], says: `${agent[2]} runs here, and ${proxy}` };
  }
  if (config)
    return {
      kind: 'kube-proxy',
      says: `kube-proxy${config.mode ? ` in ${config.mode} mode` : ''}, set up by the ConfigMap kube-system/kube-proxy`,
      config,
    };
  return {
    kind: 'unknown',
    says: 'no configuration of kube-proxy can be read in kube-system; the nodes show what runs',
  };
}

/** The part of KubeProxyConfiguration that matters here. A text that is no such YAML is as good as none. */
function kubeProxyConfig(data: Record<string, string>): DataPlane['config'] {
  const text = data['config.conf'] ?? data['config'] ?? Object.values(data)[0] ?? '';
  let all: unknown;
  try {
    all = parse(text);
  } catch {
    return undefined;
  }
  if (all === null || typeof all !== 'object') return undefined;
  const config = all as { mode?: unknown; clusterCIDR?: unknown; conntrack?: { maxPerCore?: unknown; min?: unknown } };
  const number = (value: unknown): number | undefined => (typeof value === 'number' ? value : undefined);
  const maxPerCore = number(config.conntrack?.maxPerCore);
  const min = number(config.conntrack?.min);
  return {
    from: 'ConfigMap kube-system/kube-proxy',
    mode: typeof config.mode === 'string' ? config.mode : '',
    clusterCidr: typeof config.clusterCIDR === 'string' ? config.clusterCIDR : '',
    ...(maxPerCore !== undefined && { maxPerCore }),
    ...(min !== undefined && { min }),
  };
}
