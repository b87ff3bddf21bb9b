import type { ClusterView, Plane, ServiceView } from '../../domain/cluster.ts';
import { counters } from '../../domain/counters.ts';
import type { Sample } from '../../domain/sample.ts';
import type { HostPort, Path, Place } from '../../domain/target.ts';

const addresses = { shop: '10.60.1.15', 'worker-a': '192.0.2.11', 'dns-1': '10.60.2.53', 'worker-b': '198.51.100.12' };
const [onA, onB] = [
  { node: 'worker-a', nodeAddress: addresses['worker-a'] },
  { node: 'worker-b', nodeAddress: addresses['worker-b'] },
];

/**
 * The path that every case of `tests/` starts from: the pod shop asks the Service dns. Nothing is wrong with it, so a case
 * names only what is.
 */
export const healthyPath: Path & { service: NonNullable<Path['service']> } = {
  text: 'shop->dns',
  places: [
    { name: 'shop', role: 'sender', ...onA, address: addresses.shop, netns: 'shop' },
    { name: 'worker-a', role: 'hop', ...onA, address: addresses['worker-a'] },
    { name: 'gateway', role: 'hop', node: 'gateway', address: '192.0.2.1', nodeAddress: '192.0.2.1' },
    { name: 'worker-b', role: 'hop', ...onB, address: addresses['worker-b'] },
    { name: 'dns-1', role: 'receiver', ...onB, address: addresses['dns-1'], netns: 'dns-1' },
  ],
  peer: { name: 'cart', role: 'sender', ...onA, address: '10.60.1.16', netns: 'cart' },
  service: {
    name: 'dns',
    address: '10.70.0.53',
    port: 53,
    endpoints: [{ address: addresses['dns-1'], port: 53 }],
    probe: 'echo',
  },
};

/** A host port of worker-b that leads to dns-1. */
export const healthyHostPort: HostPort = {
  node: 'worker-b',
  addresses: [addresses['worker-b']],
  port: 5353,
  owners: [{ pod: 'shop/dns-1', address: addresses['dns-1'], port: 53 }],
  probe: 'echo',
};

export const healthyNodes = ['worker-a', 'gateway', 'worker-b'] as const;

/** The same where it is in a cluster: what the API says, and kube-proxy on each node. */
export const healthyCluster: ClusterView & { service: ServiceView } = {
  service: {
    namespace: 'shop',
    name: 'dns',
    type: 'ClusterIP',
    addresses: [healthyPath.service.address],
    port: 53,
    protocol: 'UDP',
    targetPort: '53',
    external: [],
    externalPolicy: 'Cluster',
    internalPolicy: 'Cluster',
    affinity: 'None',
    affinitySeconds: 0,
    endpoints: [
      { address: addresses['dns-1'], port: 53, node: 'worker-b', pod: 'dns-1', ready: true, serving: true, terminating: false }, // prettier-ignore
    ],
    hints: false,
    selector: 'app=dns',
    selected: 1,
    ready: 1,
    slicePorts: ['53/UDP'],
    managedBy: '',
  },
  dataPlane: {
    kind: 'kube-proxy',
    says: 'kube-proxy in iptables mode, set up by the ConfigMap kube-system/kube-proxy',
    config: { from: 'ConfigMap kube-system/kube-proxy', mode: 'iptables', clusterCidr: '10.60.0.0/16' },
  },
  policies: [],
  notReady: {},
  denied: {},
  // By kube-proxy's defaults the limit of the healthy samples.
  cores: { 'worker-a': 8, gateway: 8, 'worker-b': 8 },
};

export const healthyPlane: Plane = {
  process: { pid: 812, state: 'S' },
  mode: 'iptables',
  health: '200',
  syncedAgo: 3,
  queued: false,
  restoreFailures: 0,
  programmed: { '10.70.0.53:53': ['10.60.2.53:53'] },
  legacyChains: 0,
  bridgeCalls: 1,
  missing: {},
};

/** By which device each place reaches shop, worker-a, dns-1 and worker-b, and through whom ('' where it is next door). */
const ways: Record<string, [device: string, via: string][]> = {
  shop: [['lo', ''], ['eth0', '10.60.1.1'], ['eth0', '10.60.1.1'], ['eth0', '10.60.1.1']],
  'worker-a': [['veth-shop', ''], ['lo', ''], ['eth0', '192.0.2.1'], ['eth0', '192.0.2.1']],
  gateway: [['eth0', addresses['worker-a']], ['eth0', ''], ['eth1', addresses['worker-b']], ['eth1', '']],
  'worker-b': [['eth0', '198.51.100.1'], ['eth0', '198.51.100.1'], ['veth-dns-1', ''], ['lo', '']],
  'dns-1': [['eth0', '10.60.2.1'], ['eth0', '10.60.2.1'], ['lo', ''], ['eth0', '10.60.2.1']],
}; // prettier-ignore

/** The flow of a client that has asked the Service once, as the node of the client tracks it. */
export const healthyEntry: Sample['entries'][number] = {
  source: addresses.shop,
  sourcePort: 40123,
  destination: healthyPath.service.address,
  destinationPort: 53,
  replySource: addresses['dns-1'],
  replySourcePort: 53,
  replyDestination: addresses.shop,
  replyDestinationPort: 40123,
  unreplied: false,
  timeout: 110,
};

/** A full sample of one place of the path. Every counter has counted before: only what it counts from here on matters. */
export function healthySample({ name, node, netns }: Place): Sample {
  const pod = netns !== undefined;
  const names = Object.keys(counters).filter((counter) => !counter.startsWith(pod ? 'neigh_' : 'cpu_'));
  const devices = [...new Set((ways[name] ?? []).map(([device]) => device))].filter((device) => device !== 'lo');
  return {
    bootId: `boot-${node}`,
    netns: `netns-${name}`,
    uptime: 86_400,
    kernel: '6.12.0',
    root: true,
    tools: ['python3', 'conntrack', 'ethtool', 'nft', 'iptables-save', 'tc'],
    counters: Object.fromEntries(names.map((counter) => [counter, 1_000])),
    gauges: {
      nf_conntrack_count: 500,
      nf_conntrack_max: 262_144,
      nf_conntrack_buckets: 262_144,
      ipfrag_high_thresh: 4_194_304,
      netdev_max_backlog: 1_000,
      gc_thresh3: 1_024,
      frag_memory: 0,
    },
    devices: Object.fromEntries(devices.map((device) => [`link.${device}.tx_dropped`, 3])),
    rules: [],
    sockets: name === 'dns-1' ? [{ address: '00000000', port: 53, queued: 0, drops: 7, inode: 4711 }] : [],
    links: devices.map((device) => ({ name: device, mtu: 1500, kind: linkKind(device, pod), up: true })),
    features: Object.fromEntries(devices.map((device) => [device, { 'tx-checksum-ip-generic': true }])),
    neighbours: (ways[name] ?? []).flatMap(([device, via]) =>
      via ? [{ address: via, device, state: 'REACHABLE' }] : [],
    ),
    routes: Object.fromEntries(
      Object.values(addresses).map((address, index) => {
        const [device, via] = ways[name]?.[index] ?? ['', ''];
        return [address, { device, error: '', ...(via && { via }) }];
      }),
    ),
    entries: name === 'worker-a' ? [healthyEntry] : [],
    log: [],
    missing: pod ? { arp: 'no /proc/net/stat/arp_cache in this network namespace' } : {},
    cut: [],
  };
}

const linkKind = (device: string, pod: boolean): string => (pod || device.startsWith('veth') ? 'veth' : 'physical');
