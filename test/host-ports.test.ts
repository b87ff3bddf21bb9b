import { describe, expect, test } from '@jest/globals';
import type { V1Pod } from '@kubernetes/client-node';
import { hostPortsOf } from '../cluster/host-ports.ts';
import type { Evidence } from '../domain/evidence.ts';
import { probedFlow, staleEntries } from '../domain/facts/stale.ts';
import type { Entry } from '../domain/sample.ts';
import type { HostPort } from '../domain/target.ts';
import { healthyCluster, healthyEntry, healthyHostPort, healthyPath, healthyPlane } from '../runbooks/cases/healthy.ts';
import { emptySample } from './support/samples.ts';

describe('host ports that lead to a pod', () => {
  const node = {
    metadata: { name: 'n2' },
    status: {
      addresses: [
        { type: 'Hostname', address: 'n2' },
        { type: 'ExternalIP', address: '192.0.2.2' },
        { type: 'InternalIP', address: '172.30.0.12' },
        { type: 'InternalIP', address: 'fd00::12' },
      ],
    },
  };
  type Port = { containerPort: number; hostPort?: number; hostIP?: string; protocol?: string };
  const pod = (name: string, podIP: string, ports: Port[], change: Partial<V1Pod> = {}): V1Pod => ({
    metadata: { name, namespace: 'edge', uid: name },
    spec: { containers: [{ name, ports }] },
    status: { phase: 'Running', podIP },
    ...change,
  });
  const relay = { containerPort: 9000, hostPort: 8053, protocol: 'UDP' };
  const own = pod('relay', '10.244.2.5', [relay]);

  test('are its UDP ones, by the addresses of its node', () => {
    const many = pod('relay', '10.244.2.5', [
      relay,
      { ...relay, protocol: 'TCP' },
      { containerPort: 9001, protocol: 'UDP' },
    ]);
    expect(hostPortsOf(node, many, [])).toEqual([
      {
        node: 'n2', addresses: ['172.30.0.12', '192.0.2.2'], port: 8053, probe: 'none',
        owners: [{ pod: 'edge/relay', address: '10.244.2.5', port: 9000 }],
      },
    ]); // prettier-ignore
  });

  test('or by the one that the pod asks for; nobody can send to loopback', () => {
    const asks = (hostIP: string) => hostPortsOf(node, pod('relay', '10.244.2.5', [{ ...relay, hostIP }]), []);
    expect(asks('192.0.2.2')).toMatchObject([{ addresses: ['192.0.2.2'] }]);
    expect(asks('0.0.0.0')).toMatchObject([{ addresses: ['172.30.0.12', '192.0.2.2'] }]);
    expect(asks('127.0.0.1')).toEqual([]);
  });

  test('belong to every pod of the node that has them now, and to none that has ended', () => {
    const old = pod('relay-old', '10.244.2.4', [relay]);
    const ended = pod('done', '10.244.2.3', [relay], { status: { phase: 'Succeeded', podIP: '10.244.2.3' } });
    const other = pod('other', '10.244.2.2', [{ ...relay, hostPort: 8054 }]);
    const elsewhere = pod('third', '10.244.2.1', [{ ...relay, hostIP: '192.0.2.9' }]);
    const owners = (pods: V1Pod[]) => hostPortsOf(node, own, pods)[0]?.owners.map(({ address }) => address);
    expect(owners([own, old, ended, other])).toEqual(['10.244.2.5', '10.244.2.4']);
    expect(owners([elsewhere])).toEqual(['10.244.2.5', '10.244.2.1']);
    const fixed = pod('relay', '10.244.2.5', [{ ...relay, hostIP: '192.0.2.2' }]);
    expect(hostPortsOf(node, fixed, [elsewhere])[0]?.owners).toHaveLength(1);
  });

  test('are probed where the pod says so, or its Service does for that port', () => {
    const says = pod('relay', '10.244.2.5', [relay], {
      metadata: { name: 'relay', namespace: 'edge', annotations: { 'undrop.dev/probe': 'echo' } },
    });
    const probes = (one: V1Pod, echoes?: number) => hostPortsOf(node, one, [], echoes).map(({ probe }) => probe);
    expect([probes(own), probes(own, 9000), probes(own, 53), probes(says)]).toEqual([['none'], ['echo'], ['none'], ['echo']]); // prettier-ignore
  });
});

describe('stale entries of host ports', () => {
  const [place] = healthyPath.places.filter(({ name }) => name === 'worker-b');
  if (!place) throw new Error('there is no worker-b');
  const gone: Entry = {
    ...healthyEntry,
    destination: '198.51.100.12',
    destinationPort: 5353,
    replySource: '10.60.2.99',
  };
  const seen = (
    change: { port?: Partial<HostPort>; denied?: Record<string, string>; planes?: object } = {},
  ): Evidence => {
    const edge = {
      at: 0, samples: { 'worker-b': { ...emptySample(), entries: [gone, { ...gone, destinationPort: 53 }] } }, failed: {},
      cluster: { ...healthyCluster, denied: change.denied ?? {} }, planes: { 'worker-b': healthyPlane, ...change.planes },
    }; // prettier-ignore
    const { service: _, ...path } = healthyPath;
    return {
      path: { ...path, hostPorts: [{ ...healthyHostPort, ...change.port }] },
      windows: [{ step: 'control', before: edge, after: edge }],
    };
  };

  test('are those to a pod that does not have the port, and no other', () => {
    expect(staleEntries(seen(), place)).toEqual([gone]);
    expect(probedFlow(seen())).toEqual(gone);
    const still = { port: { owners: [{ pod: 'shop/old', address: '10.60.2.99', port: 53 }] } };
    expect(staleEntries(seen(still), place)).toEqual([]);
  });

  test('are none to probe or to delete where it is not known who has the port', () => {
    expect(staleEntries(seen({ denied: { 'Pods of all namespaces': 'forbidden' } }), place)).toEqual([]);
    const { programmed: _, ...unread } = healthyPlane;
    expect(staleEntries(seen({ planes: { 'worker-b': unread } }), place)).toEqual([]);
    const nodePort = { ...healthyPlane, programmed: { '198.51.100.12:5353': ['10.60.2.53:53'] } };
    expect(staleEntries(seen({ planes: { 'worker-b': nodePort } }), place)).toEqual([]);
  });

  test('are none to probe where nobody lets the application be probed', () => {
    expect(staleEntries(seen({ port: { probe: 'none' } }), place)).toEqual([gone]);
    expect(probedFlow(seen({ port: { probe: 'none' } }))).toBeUndefined();
  });
});
