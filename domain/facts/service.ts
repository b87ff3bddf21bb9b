import type { ClusterView, EndpointView, Plane, ServiceView } from '../cluster.ts';
import { type Evidence, fullSample } from '../evidence.ts';
import type { Place } from '../target.ts';
import { Unseen, unread } from './unread.ts';

const firstEdge = ({ windows }: Evidence) => windows[0]?.before;
const clusterOf = (evidence: Evidence): ClusterView | undefined => firstEdge(evidence)?.cluster;

/** Whether a place is the node where what the sender sends to a Service's address gets its endpoint. */
export function translatesFirst({ path }: Evidence, place: Place): boolean {
  return place.node === path.places[0]?.node && place.address === place.nodeAddress;
}

/** What the API says of the Service, as seen from one place: how many of its endpoints are on the same node. */
export function serviceFacts(evidence: Evidence, place: Place): object {
  const cluster = clusterOf(evidence);
  const service = cluster?.service;
  if (!service) return unread('the target is no Service of a cluster');
  const unlisted = cluster.denied[`EndpointSlices in ${service.namespace}`];
  if (unlisted !== undefined) return unread(`its endpoints could not be listed: ${unlisted}`);
  const serving = service.endpoints.filter((one) => one.serving);
  return {
    name: `${service.namespace}/${service.name}`,
    serving: serving.length,
    ready: service.endpoints.filter((one) => one.ready).length,
    local: serving.filter(({ node }) => node === place.node).length,
    onlyLocal: service.internalPolicy === 'Local',
    externalLocal: service.externalPolicy === 'Local',
    affinity: service.affinity === 'ClientIP',
    affinitySeconds: service.affinitySeconds,
    whyNone: whyNone(service, cluster.denied[`Pods in ${service.namespace}`]),
    managedBy: service.managedBy || 'nobody says so',
    denies: cluster.policies.filter(({ allows }) => !allows).map(({ name }) => name).join(', '), // prettier-ignore
  };
}

/** Why a Service has no endpoint that serves this port, from what its selector and its EndpointSlices show. */
function whyNone(service: ServiceView, unlisted: string | undefined): string {
  const { selector, selected, ready, slicePorts, targetPort, protocol, endpoints } = service;
  if (protocol !== 'UDP') return `its port is ${protocol}, not UDP`;
  if (selector === '') return 'it has no selector, so somebody must write its endpoints, and nobody did';
  if (unlisted !== undefined) return `the pods of its selector could not be listed (${unlisted})`;
  if (selected === 0) return `no pod has the labels of its selector (${selector})`;
  if (slicePorts.length > 0 && !slicePorts.some((port) => port.endsWith('/UDP')))
    return `its EndpointSlices carry ${slicePorts.join(', ')} only`;
  if (endpoints.length === 0 && ready > 0) return `${ready} pods are Ready, but none has its target port ${targetPort}`;
  if (ready === 0) return `none of the ${selected} pods that it selects is Ready`;
  return `none of its ${endpoints.length} endpoints serves`;
}

/** kube-proxy on the node of a place, its rules and its settings. Each is asked for alone: one may be known without another. */
export function planeFacts(evidence: Evidence, place: Place): object {
  const cluster = clusterOf(evidence);
  const plane = (): Plane => planeAt(evidence, place);
  const metric = <T>(value: T | undefined): T => {
    if (value !== undefined) return value;
    throw new Unseen(plane().missing['metrics'] ?? `kube-proxy on ${place.node} tells nothing of its syncs`);
  };
  return {
    get runs() {
      return stateOf(plane()) === 'running';
    },
    get state() {
      return stateOf(plane());
    },
    get says() {
      return plane().health || 'no answer on port 10256';
    },
    get mode() {
      return plane().mode;
    },
    get queued() {
      return metric(plane().queued);
    },
    get failures() {
      return metric(plane().restoreFailures);
    },
    get synced() {
      const { syncedAgo } = plane();
      return syncedAgo === undefined ? 'of its last sync it says nothing' : `last sync ${syncedAgo} s ago`;
    },
    get legacyChains() {
      return legacyChainsOf(plane());
    },
    /** Outside a cluster nobody is kube-proxy, and rules of the legacy tables are a firewall like any other. */
    get mixed() {
      return cluster !== undefined && legacyChainsOf(plane()) > 0 && hasOwnChains(evidence, place);
    },
    /** 1 where the node lacks the setting: then no bridge of it takes packets past the rules. */
    get bridgeCalls() {
      return plane().bridgeCalls ?? 1;
    },
    get conntrackMax() {
      return conntrackMaxOf(cluster, place);
    },
    get rules() {
      return rulesFacts(evidence, plane(), place);
    },
  };
}

/** @throws Unseen where there is no kube-proxy, or it could not be looked at */
function planeAt(evidence: Evidence, { node }: Place): Plane {
  const cluster = clusterOf(evidence);
  if (!cluster) throw new Unseen('the target is not in a cluster');
  if (!['kube-proxy', 'unknown'].includes(cluster.dataPlane.kind))
    throw new Unseen(`${cluster.dataPlane.says}, so there is no kube-proxy to judge`);
  const plane = firstEdge(evidence)?.planes?.[node];
  if (!plane) throw new Unseen(`kube-proxy on ${node} was not looked at`);
  const all = plane.missing['all'];
  if (all !== undefined) throw new Unseen(`kube-proxy on ${node} could not be looked at: ${all}`);
  return plane;
}

function stateOf({ process, health }: Plane): string {
  // k3s and others run it inside a process of another name.
  if (process === undefined && health === '200') return 'running';
  if (process === undefined || /[ZX]/.test(process.state)) return 'no process';
  return /[Tt]/.test(process.state) ? 'stopped' : 'running';
}

function legacyChainsOf({ legacyChains = 0, missing }: Plane): number {
  const why = missing['iptables-legacy-save'];
  if (why !== undefined) throw new Unseen(`chains of the legacy tables could not be listed: ${why}`);
  return legacyChains;
}

/** Rules of kube-proxy in iptables-nft or in its own nftables tables; those of kube-router's policies only sound alike. */
const ownChains = /^(?!legacy ).*(-A KUBE-(?!NWPLCY|POD-FW|ROUTER)|\bnft ip6? kube-proxy )/;

/** Whether the node has rules of kube-proxy beside those of the legacy tables: it always writes some that drop or masquerade. */
function hasOwnChains(evidence: Evidence, { node }: Place): boolean {
  const own = evidence.path.places.find((one) => one.node === node && one.address === one.nodeAddress);
  const sample = own && fullSample(evidence, own.name);
  if (!sample) throw new Unseen(`the rules of ${node} were not read`);
  return sample.rules.some(({ text }) => ownChains.test(text));
}

/** kube-proxy's own where its configuration says nothing, and what its newest versions set at most for cores. */
const conntrackDefaults = { maxPerCore: 32_768, min: 131_072, most: 1_048_576 };

/** The limit that kube-proxy sets at its start by its configuration; 0: it leaves the node's alone. */
function conntrackMaxOf(cluster: ClusterView | undefined, { node }: Place): object {
  const config = cluster?.dataPlane.config;
  const cores = cluster?.cores?.[node];
  if (!config) return unread(cluster?.dataPlane.says ?? 'the target is not in a cluster');
  const { maxPerCore = conntrackDefaults.maxPerCore, min = conntrackDefaults.min } = config;
  if (maxPerCore === 0) return { wanted: 0, from: config.from, says: `maxPerCore is 0 in ${config.from}` };
  if (cores === undefined) return unread(`how many cores ${node} has is not known`);
  const ofCores = maxPerCore * cores;
  const wanted = ofCores > conntrackDefaults.most ? conntrackDefaults.most : Math.max(ofCores, min);
  return {
    wanted,
    from: config.from,
    says: `${maxPerCore.toLocaleString('en-US')} for each of ${cores} cores, at least ${min.toLocaleString('en-US')} (${config.from})`,
  };
}

/** The rules for the Service's own address against its endpoints: `dead` are in the rules only, `lacking` in the slices only. */
function rulesFacts(evidence: Evidence, plane: Plane, place: Place): object {
  const cluster = clusterOf(evidence);
  const service = cluster?.service;
  if (!service) return unread('the target is no Service of a cluster');
  const address = evidence.path.service?.address ?? '';
  if (address === '') return unread('the Service is headless: no rule leads to it');
  // What only looks like a rule that is not there would accuse kube-proxy.
  if ([plane.mode, cluster.dataPlane.config?.mode].includes('ipvs'))
    return unread(`kube-proxy on ${place.node} uses ipvs, whose table is not read`);
  if (cluster.dataPlane.kind === 'unknown' && plane.mode === '')
    return unread(`${place.node} has no rules of kube-proxy at all, and what forwards here instead is not known`);
  if (address.includes(':')) return unread('rules for IPv6 addresses of Services are not read');
  if (!plane.programmed)
    return unread(
      `the rules of kube-proxy on ${place.node} could not be read: ${Object.values(plane.missing).join('; ')}`,
    );
  const named = ({ address: of, port }: EndpointView): string => `${of}:${port}`;
  const led = plane.programmed[`${address}:${service.port}`];
  const serving = service.endpoints.filter((one) => one.serving);
  const ready = serving.filter((one) => one.ready);
  // With policy Local only the node's own endpoints are programmed, and with hints only some: fewer is no fault then. Those
  // that are shutting down are programmed only while no other is there.
  const some = service.internalPolicy === 'Local' || service.hints;
  const wanted = (ready.length ? ready : serving).map(named);
  const dead = (led ?? []).filter((one) => !serving.map(named).includes(one));
  const lacking = some ? [] : wanted.filter((one) => !(led ?? []).includes(one));
  return {
    wrong: dead.length + lacking.length > 0,
    says: [
      led === undefined && lacking.length ? `no rule for ${address}:${service.port}` : '',
      dead.length ? `its rules lead to ${dead.join(', ')}, which is no endpoint that serves` : '',
      led !== undefined && lacking.length ? `its rules lack ${lacking.join(', ')}` : '',
      dead.length + lacking.length === 0 ? `its rules lead to the ${wanted.length} endpoints that there are` : '',
    ].filter(Boolean).join('; '), // prettier-ignore
  };
}

/** What datagrams of the same size to the endpoint itself lose: what only those to the Service's address lose is the Service's. */
export function directFacts(evidence: Evidence): { sent: number; lost: number; taken: boolean; says: string } {
  const probe = evidence.windows.find((window) => window.step === 'small')?.probe;
  const { sent = 0, lost = 0 } = probe ?? {};
  const says = probe
    ? `the endpoint itself answers when asked directly (${lost} of ${sent} lost)`
    : 'the endpoint itself was not asked directly';
  return { sent, lost, taken: probe !== undefined, says };
}
