import { afterAll, describe, expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ofEntries } from '../activities/radius.ts';
import type { Operation } from '../domain/operation.ts';
import type { ClusterView, Plane, ServiceView } from '../domain/cluster.ts';
import { parseTarget, textOf } from '../domain/cluster-target.ts';
import type { Evidence } from '../domain/evidence.ts';
import { planeFacts, serviceFacts, translatesFirst } from '../domain/facts/service.ts';
import { Unseen } from '../domain/facts/unread.ts';
import { probeOf } from '../cluster/service.ts';
import { TargetError } from '../domain/target.ts';
import { healthyCluster, healthyPath, healthyPlane, healthySample } from '../runbooks/cases/healthy.ts';
import { root } from './support/imports.ts';

describe('whose entries are deleted', () => {
  const evict = (destination: string): Operation => ({ kind: 'conntrack.evict', destination, destinationPort: 53, entries: 7 }); // prettier-ignore
  const path = { ...healthyPath, service: { ...healthyPath.service, name: 'dns.shop' } };
  const web = { service: 'web/api', nodes: new Set<string>(), addresses: new Set(['10.60.9.9:53']) };
  const denied = { 'EndpointSlices of all namespaces': 'forbidden' };

  test.each([
    ['of the target', [evict('10.70.0.53')], [web], { flows: 7, services: ['shop/dns'] }],
    ['of an endpoint', [evict('10.60.9.9')], [web], { flows: 7, services: ['web/api'] }],
    ['of the target, which needs no list', [evict('10.70.0.53')], undefined, { flows: 7, services: ['shop/dns'] }],
    ['not known without a list', [evict('10.70.0.53'), evict('10.60.9.9')], undefined, { flows: 14, services: [], unlisted: 'forbidden' }],
  ])('%s', (_, operations, endpoints, expected) => {
    expect(ofEntries(operations, { path }, endpoints, denied)).toEqual({ exact: true, ...expected });
  }); // prettier-ignore
});

describe('what the application of a Service may be sent', () => {
  const port = { name: 'dns', port: 53, protocol: 'UDP' };
  const of = (metadata: object, ports: object = port) =>
    probeOf({ metadata, spec: { ports: [ports] } } as never, { ...healthyCluster.service, ...ports });
  const dns = { labels: { 'k8s-app': 'kube-dns' } };

  test.each([
    ['nothing, where nobody says anything', {}, { ...port, name: 'queries' }, { probe: 'none' }],
    ['what its owner says', { annotations: { 'undrop.dev/probe': 'echo' } }, port, { probe: 'echo' }],
    ["queries, as the cluster's own DNS", dns, { ...port, name: 'any' }, { probe: 'dns' }],
    ['queries, by the name of its port', {}, port, { probe: 'dns' }],
    ['no queries to the same port of TCP', dns, { ...port, protocol: 'TCP' }, { probe: 'none' }],
    ['no queries to another port of it', dns, { ...port, port: 9153 }, { probe: 'none' }],
    ['nothing, against its owner', { ...dns, annotations: { 'undrop.dev/probe': 'none' } }, port, { probe: 'none' }],
    ['nothing, where its owner says what is no word', { ...dns, annotations: { 'undrop.dev/probe': 'dsn' } }, port, { probe: 'none' }],
    ['queries of its zone', { ...dns, annotations: { 'undrop.dev/zone': 'k8s.corp' } }, port, { probe: 'dns', zone: 'k8s.corp' }],
    ['queries of no zone that is none', { ...dns, annotations: { 'undrop.dev/zone': 'a b; c' } }, port, { probe: 'dns' }],
  ])('is %s', (_, metadata, ports, expected) => {
    expect(of(metadata, ports)).toEqual(expected);
  }); // prettier-ignore
});

describe('a target of a cluster', () => {
  test.each([
    ['service/shop/echo', undefined, { kind: 'service', namespace: 'shop', name: 'echo' }],
    ['pod/shop/web-0->service/shop/echo:9000@echo-1', { kind: 'pod', namespace: 'shop', name: 'web-0' }, { kind: 'service', namespace: 'shop', name: 'echo', port: 9000, endpoint: 'echo-1' }],
    [' node/n1 -> pod/shop/echo-1 ', { kind: 'node', name: 'n1' }, { kind: 'pod', namespace: 'shop', name: 'echo-1' }],
    ['node/n1->node/n2.example.org', { kind: 'node', name: 'n1' }, { kind: 'node', name: 'n2.example.org' }],
    ['node/n1->service/shop/echo@echo-1', { kind: 'node', name: 'n1' }, { kind: 'service', namespace: 'shop', name: 'echo', endpoint: 'echo-1' }],
  ])('%s', (text, from, to) => {
    const target = parseTarget(text);
    expect(target).toEqual({ ...(from && { from }), to });
    const again = [target.from, target.to].flatMap((end) => (end ? [textOf(end)] : [])).join('->');
    expect(again).toBe(text.replaceAll(' ', ''));
  }); // prettier-ignore

  test.each([
    ['', /^"" is no end of a path; a target is service\/NAMESPACE\/NAME/],
    ['echo', /^"echo" is no end of a path/],
    ['service/echo', /^"service\/echo" is no end/],
    ['service/shop/echo:dns', /is no end/],
    ['service/shop/echo:123456', /is no end/],
    ['pod/shop/Web', /^"pod\/shop\/Web" is no end/],
    ['pod/shop/web;reboot->node/n1', /^"pod\/shop\/web;reboot" is no end/],
    ['node/n1', /^"node\/n1" has one end only/],
    ['node/n1->', /^"" is no end/],
    ['node/a->node/b->node/c', /has more than one ->/],
    ['service/shop/echo->pod/shop/web', /starts at a pod or node, not at a Service/],
    ['pod/shop/web->pod/shop/web', /^pod\/shop\/web is both ends of the path/],
  ])('is not "%s"', (text, why) => {
    expect(() => parseTarget(text)).toThrow(TargetError);
    expect(() => parseTarget(text)).toThrow(why);
  });
});

const [shop, workerA, , workerB] = healthyPath.places;
/** What was seen of the healthy Service, with what the API and kube-proxy on worker-a say otherwise. */
function seen(
  service: Partial<ServiceView> = {},
  plane: Partial<Plane> = {},
  cluster: Partial<ClusterView> = {},
): Evidence {
  const edge = {
    at: 0,
    samples: Object.fromEntries(healthyPath.places.map((place) => [place.name, healthySample(place)])),
    failed: {},
    cluster: { ...healthyCluster, service: { ...healthyCluster.service, ...service }, ...cluster },
    planes: { 'worker-a': { ...healthyPlane, ...plane } },
  };
  return { path: healthyPath, windows: [{ step: 'service', before: edge, after: edge }] };
}
const endpoint = healthyCluster.service.endpoints[0]!;

describe('what is known of a Service', () => {
  const whyNone = (service: Partial<ServiceView>, cluster: Partial<ClusterView> = {}) =>
    serviceFacts(seen({ endpoints: [], ...service }, {}, cluster), shop!) as { whyNone: string };

  test.each([
    ['its protocol', { protocol: 'SCTP' }, 'its port is SCTP, not UDP'],
    ['no selector', { selector: '', selected: 0 }, 'it has no selector, so somebody must write its endpoints, and nobody did'],
    ['a selector that fits nothing', { selected: 0, ready: 0 }, 'no pod has the labels of its selector (app=dns)'],
    ['slices for another protocol', { slicePorts: ['53/TCP', '9153/TCP'] }, 'its EndpointSlices carry 53/TCP, 9153/TCP only'],
    ['a port that no pod has', { targetPort: 'dns-upd', ready: 2, selected: 2, slicePorts: [] }, '2 pods are Ready, but none has its target port dns-upd'],
    ['pods that are not Ready', { selected: 3, ready: 0 }, 'none of the 3 pods that it selects is Ready'],
    ['endpoints that do not serve', { selected: 1, ready: 1, endpoints: [{ ...endpoint, serving: false, ready: false }] }, 'none of its 1 endpoints serves'],
  ])('why it has no endpoint: %s', (_, service, why) => {
    expect(whyNone(service)).toMatchObject({ serving: 0, whyNone: why });
  }); // prettier-ignore

  test('what may not be listed is not none', () => {
    const denied = (what: string) => ({ denied: { [`${what} in shop`]: 'forbidden' } });
    expect(whyNone({ selected: 0, ready: 0 }, denied('Pods')).whyNone).toBe(
      'the pods of its selector could not be listed (forbidden)',
    );
    expect(() => whyNone({}, denied('EndpointSlices')).whyNone).toThrow('its endpoints could not be listed: forbidden');
  });

  test('its endpoints are counted where they serve, and as seen from one node', () => {
    const endpoints = [
      endpoint,
      { ...endpoint, address: '10.60.1.53', node: 'worker-a', ready: false, terminating: true },
      { ...endpoint, address: '10.60.1.54', node: 'worker-a', ready: false, serving: false },
    ];
    const of = (place = workerA!) => serviceFacts(seen({ endpoints, internalPolicy: 'Local' }), place);
    expect(of()).toMatchObject({ name: 'shop/dns', serving: 2, ready: 1, local: 1, onlyLocal: true, externalLocal: false }); // prettier-ignore
    expect(of(workerB)).toMatchObject({ serving: 2, local: 1 });
    expect(of(healthyPath.places[2])).toMatchObject({ local: 0 });
  });

  test('its address is translated on the node of the sender, and nowhere else', () => {
    const first = healthyPath.places.filter((place) => translatesFirst(seen(), place)).map(({ name }) => name);
    expect(first).toEqual(['worker-a']);
    const { path, ...evidence } = seen();
    const places = [{ ...workerA!, role: 'sender' as const }, ...path.places.slice(2)];
    expect(translatesFirst({ path: { ...path, places }, ...evidence }, places[0]!)).toBe(true);
  });
});

interface PlaneFacts {
  runs: boolean;
  state: string;
  says: string;
  synced: string;
  failures: number;
  mixed: boolean;
  bridgeCalls: number;
  conntrackMax: { wanted: number; says: string };
  rules: { wrong: boolean; says: string };
}

describe('what is known of kube-proxy', () => {
  const facts = (plane: Partial<Plane> = {}, cluster: Partial<ClusterView> = {}, service: Partial<ServiceView> = {}) =>
    planeFacts(seen(service, plane, cluster), workerA!) as PlaneFacts;
  const led = (...endpoints: string[]) => ({ programmed: { '10.70.0.53:53': endpoints } });
  const other = { ...endpoint, address: '10.60.2.54' };

  test('a kube-proxy within a process of another name runs where its health port answers', () => {
    const evidence = seen();
    const { process: _, ...rest } = healthyPlane;
    evidence.windows[0]!.before.planes = { 'worker-a': rest };
    expect(planeFacts(evidence, workerA!)).toMatchObject({ runs: true, state: 'running' });
  });

  test.each([
    [undefined, false, 'no process'],
    ['S', true, 'running'],
    ['R', true, 'running'],
    ['D', true, 'running'],
    ['T', false, 'stopped'],
    ['t', false, 'stopped'],
    ['Z', false, 'no process'],
  ])('a process in state %s', (state, runs, says) => {
    const evidence = seen();
    const { process: _, ...rest } = healthyPlane;
    evidence.windows[0]!.before.planes = {
      'worker-a': { ...rest, health: '', ...(state && { process: { pid: 1, state } }) },
    };
    expect(planeFacts(evidence, workerA!)).toMatchObject({ runs, state: says });
  });

  test.each([
    ['the endpoints that there are', led('10.60.2.53:53'), {}, false, 'its rules lead to the 1 endpoints that there are'],
    ['one that is gone, beside the right one', led('10.60.2.53:53', '10.60.2.99:53'), {}, true, 'its rules lead to 10.60.2.99:53, which is no endpoint that serves'],
    ['one of two', led('10.60.2.53:53'), { endpoints: [endpoint, other] }, true, 'its rules lack 10.60.2.54:53'],
    ['one of two, by hints', led('10.60.2.53:53'), { endpoints: [endpoint, other], hints: true }, false, 'its rules lead to the 2 endpoints that there are'],
    ['another port of the right pod', led('10.60.2.53:54'), {}, true, 'its rules lead to 10.60.2.53:54, which is no endpoint that serves; its rules lack 10.60.2.53:53'],
    ['nowhere, since they do not know the Service', { programmed: {} }, {}, true, 'no rule for 10.70.0.53:53'],
    ['nowhere, since it has no endpoint', { programmed: {} }, { endpoints: [] }, false, 'its rules lead to the 0 endpoints that there are'],
    ['the ready one and not the one that is shutting down', led('10.60.2.53:53'), { endpoints: [endpoint, { ...other, ready: false, terminating: true }] }, false, 'its rules lead to the 1 endpoints that there are'],
    ['the last one, which is shutting down', led('10.60.2.54:53'), { endpoints: [{ ...other, ready: false, terminating: true }] }, false, 'its rules lead to the 1 endpoints that there are'],
  ])('rules that lead to %s', (_, plane, service, wrong, says) => {
    expect({ ...facts(plane, {}, service).rules }).toEqual({ wrong, says });
  }); // prettier-ignore

  test('rules that could not be read accuse nobody', () => {
    const { programmed: _, ...unread } = healthyPlane;
    const evidence = seen();
    evidence.windows[0]!.before.planes = {
      'worker-a': { ...unread, missing: { 'iptables-save': 'Permission denied' } },
    };
    const rules = (of: object) => () => (of as PlaneFacts).rules.wrong;
    expect(rules(planeFacts(evidence, workerA!))).toThrow('could not be read: Permission denied');
    expect(rules(facts({ mode: 'ipvs', programmed: {} }))).toThrow('uses ipvs, whose table is not read');
    const unknown = { dataPlane: { kind: 'unknown' as const, says: 'nobody knows' } };
    expect(rules(facts({ mode: '', programmed: {} }, unknown))).toThrow('what forwards here instead is not known');
    expect(facts({ mode: '', programmed: {} }).rules.wrong).toBe(true);
    expect(facts({ programmed: {} }, unknown).rules.wrong).toBe(true);
    const six = seen();
    six.path = { ...healthyPath, service: { ...healthyPath.service, address: 'fd00::53' } };
    expect(rules(planeFacts(six, workerA!))).toThrow('rules for IPv6 addresses of Services are not read');
  });

  test('each is unknown where it was not read, and the rest is known all the same', () => {
    const { syncedAgo: _, queued: __, restoreFailures: ___, ...silent } = healthyPlane;
    const evidence = seen();
    evidence.windows[0]!.before.planes = { 'worker-a': { ...silent, missing: { metrics: 'it does not answer' } } };
    const quiet = planeFacts(evidence, workerA!) as PlaneFacts;
    expect(quiet).toMatchObject({ runs: true, synced: 'of its last sync it says nothing' });
    expect(() => quiet.failures).toThrow('it does not answer');
    const locked = facts({ missing: { 'iptables-legacy-save': 'locked' } });
    expect(() => locked.mixed).toThrow('chains of the legacy tables could not be listed: locked');
    expect(locked.runs).toBe(true);
    expect(facts({ health: '' }).says).toBe('no answer on port 10256');
  });

  test('why there is none to judge', () => {
    const runs = (of: object) => () => (of as PlaneFacts).runs;
    const cilium = { dataPlane: { kind: 'cilium' as const, says: 'Cilium runs here' } };
    expect(runs(facts({}, cilium))).toThrow(Unseen);
    expect(runs(facts({}, cilium))).toThrow('Cilium runs here, so there is no kube-proxy to judge');
    expect(runs(planeFacts(seen(), workerB!))).toThrow('kube-proxy on worker-b was not looked at');
    expect(runs(facts({ missing: { all: 'ssh: timed out' } }))).toThrow('could not be looked at: ssh: timed out');
  });

  test.each([
    ['by the cores', { cores: { 'worker-a': 16 } }, {}, 524_288],
    ['at least the least', { cores: { 'worker-a': 2 } }, {}, 131_072],
    ['by its own numbers', {}, { maxPerCore: 1_000, min: 5_000 }, 8_000],
    ['at least its own least', {}, { maxPerCore: 1_000, min: 9_000 }, 9_000],
    ['at most a million for cores', { cores: { 'worker-a': 96 } }, {}, 1_048_576],
    ['but a least above it', {}, { min: 2_000_000 }, 2_000_000],
    ['never', { cores: {} }, { maxPerCore: 0 }, 0],
  ])('the limit of connection tracking that it sets: %s', (_, cluster, config, wanted) => {
    const dataPlane = { ...healthyCluster.dataPlane, config: { ...healthyCluster.dataPlane.config!, ...config } };
    expect(facts({}, { dataPlane, ...cluster }).conntrackMax.wanted).toBe(wanted);
  }); // prettier-ignore

  test('the limit is unknown without its configuration, or the cores', () => {
    const { config: _, ...dataPlane } = healthyCluster.dataPlane;
    expect(() => facts({}, { dataPlane: { ...dataPlane, says: 'nobody knows' } }).conntrackMax.wanted).toThrow('nobody knows'); // prettier-ignore
    expect(() => facts({}, { cores: {} }).conntrackMax.wanted).toThrow('how many cores worker-a has is not known');
  });
});

describe('the rules that kube-proxy has written', () => {
  const script = join(root, 'nodes/sampling/plane.py');
  /** Calls a function of the script, without running it. */
  const call = (name: string, ...words: unknown[]): unknown => {
    const python = `import json, runpy, sys
name, words = json.load(sys.stdin)
print(json.dumps(runpy.run_path(sys.argv[1])[name](*words)))`;
    return JSON.parse(execFileSync('python3', ['-I', '-c', python, script], { input: JSON.stringify([name, words]), encoding: 'utf8' })) as unknown; // prettier-ignore
  };
  /** Where the rules lead; and whom they keep for a client. */
  const read = (name: string, text: string, wanted: string[], ...more: string[]) =>
    call(name, text, wanted, ...(more.length ? more : ['10.244.1.9'])) as [object, object];
  const led = (name: string, text: string, wanted: string[]): object => read(name, text, wanted)[0];
  const recorded = readFileSync(join(root, 'test/support/kube-proxy-rules.txt'), 'utf8').split(/^=== .*\n/m);
  const [, iptables = '', nftables = ''] = recorded;
  const both = ['10.244.1.2:9000', '10.244.2.2:9000'];

  test.each([
    ['iptables', iptables],
    ['nftables', nftables],
  ])('in %s mode lead from every address to its endpoints', (name, text) => {
    expect(led(name, text, ['10.96.0.53:9000', '192.0.2.11:30053', '10.96.0.99:5353'])).toEqual({
      '10.96.0.53:9000': both,
      '192.0.2.11:30053': both,
    });
    // The port of another protocol is another Service's.
    expect(led(name, text, ['10.96.0.1:443'])).toEqual({});
    expect(led(name, '', ['10.96.0.53:9000'])).toEqual({});
  });

  test('an endpoint whose rule is gone is not led to', () => {
    const less = iptables.replace(/^-A KUBE-SVC-\S+ .*-j KUBE-SEP-OQ4SVDHX\n/m, '');
    expect(less).not.toBe(iptables);
    expect(led('iptables', less, ['10.96.0.53:9000'])).toEqual({ '10.96.0.53:9000': ['10.244.1.2:9000'] });
    const cut = nftables.replace(/, 1 : goto endpoint-OQ4SVDHX\S+/, '');
    expect(cut).not.toBe(nftables);
    expect(led('nftables', cut, ['10.96.0.53:9000'])).toEqual({ '10.96.0.53:9000': ['10.244.1.2:9000'] });
  });

  test('endpoints that one rule chooses among are all led to, as kube-proxy 1.36 writes them', () => {
    const [head = ''] = nftables.split(/^\tchain service-/m);
    const text = `${head}\tchain service-6ZGVEEIS-shop/echo/udp/ {\n\t\tmeta l4proto udp dnat ip to numgen random mod 2 map { 0 : 10.244.1.2 . 9000, 1 : 10.244.2.2 . 9000 }\n\t}\n}`;
    expect(led('nftables', text, ['10.96.0.53:9000'])).toEqual({ '10.96.0.53:9000': both });
  });

  test('a Service without endpoints is in none of the maps that lead somewhere', () => {
    expect(led('nftables', nftables, ['10.96.0.77:53'])).toEqual({});
    expect(led('iptables', iptables, ['10.96.0.77:53'])).toEqual({});
  });

  test('chains that lead to each other end', () => {
    const loop = `${iptables}-A KUBE-SVC-6ZGVEEIS -j KUBE-EXT-6ZGVEEIS\n`;
    expect(led('iptables', loop, ['10.96.0.53:9000'])).toEqual({ '10.96.0.53:9000': both });
  });

  describe('with session affinity', () => {
    const lists = mkdtempSync(join(tmpdir(), 'undrop-lists-'));
    afterAll(() => rmSync(lists, { recursive: true }));
    // As kube-proxy writes it: first a rule for each endpoint that asks for its clients, then those that choose.
    const kept = iptables.replace(
      /^(-A KUBE-SVC-6ZGVEEIS .*--probability)/m,
      ['AYRVUXCT', 'OQ4SVDHX'].map((end) => `-A KUBE-SVC-6ZGVEEIS -m recent --rcheck --seconds 10800 --reap --name KUBE-SEP-${end} --mask 255.255.255.255 --rsource -j KUBE-SEP-${end}\n`).join('') + '$1',
    ); // prettier-ignore
    const seen = (end: string, ...clients: string[]): void =>
      writeFileSync(
        join(lists, `KUBE-SEP-${end}`),
        clients.map((one) => `src=${one} ttl: 64 last_seen: 4301494008 oldest_pkt: 1 4301494007\n`).join(''),
      );
    const wanted = ['10.96.0.53:9000', '192.0.2.11:30053'];

    test("the node's lists name the endpoint of a client, also for a node's port, the first of several", () => {
      seen('AYRVUXCT', '10.244.1.8');
      seen('OQ4SVDHX', '10.244.1.90', '10.244.1.9', '10.244.1.8');
      const of = (client: string) => read('iptables', kept, wanted, client, lists);
      const both10 = { '10.96.0.53:9000': both, '192.0.2.11:30053': both };
      expect(of('10.244.1.9')).toEqual([both10, bound('10.244.2.2:9000')]);
      expect(of('10.244.1.8')).toEqual([both10, bound('10.244.1.2:9000')]);
      expect(of('10.244.1.7')[1]).toEqual(bound(''));
    });

    test('a list that cannot be read leaves it unknown', () => {
      rmSync(join(lists, 'KUBE-SEP-AYRVUXCT'));
      expect(read('iptables', kept, wanted, '10.244.1.9', lists)[1]).toBe(null);
    });

    test('sets do the same in nftables mode', () => {
      const [set, other] = ['OQ4SVDHX-shop/echo/udp/__10.244.2.2/9000', 'AYRVUXCT-shop/echo/udp/__10.244.1.2/9000'];
      const text = nftables
        .replace('\tchain mark-', `\tset affinity-${other} {\n\t\ttype ipv4_addr\n\t\ttimeout 3h\n\t}\n\n\tset affinity-${set} {\n\t\ttype ipv4_addr\n\t\telements = { 10.244.1.90 expires 2h,\n\t\t\t     10.244.1.9 expires 2h59m59s984ms }\n\t}\n\n\tchain mark-`)
        .replace('\t\tnumgen', [other, set].map((one) => `\t\tip saddr @affinity-${one} goto endpoint-${one}\n`).join('') + '\t\tnumgen'); // prettier-ignore
      expect(read('nftables', text, wanted)[1]).toEqual(bound('10.244.2.2:9000'));
      expect(read('nftables', text, wanted, '10.244.1.99')[1]).toEqual(bound(''));
    });

    test('and a Service without it keeps nobody', () => {
      expect(read('iptables', iptables, wanted)[1]).toEqual({});
      expect(read('nftables', nftables, wanted)[1]).toEqual({});
    });

    const bound = (endpoint: string) => Object.fromEntries(wanted.map((one) => [one, endpoint]));
  });

  test('its metrics are the largest over both families', () => {
    const text = [
      '# HELP kubeproxy_sync_proxy_rules_last_timestamp_seconds …',
      'kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family="IPv4"} 1.79e+09',
      'kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family="IPv6"} 1.78e+09',
      'kubeproxy_sync_proxy_rules_iptables_restore_failures_total 4',
      'process_cpu_seconds_total 12.5',
      'kubeproxy_broken NaN',
    ];
    expect(call('metrics', text.join('\n'))).toEqual({
      kubeproxy_sync_proxy_rules_last_timestamp_seconds: 1.79e9,
      kubeproxy_sync_proxy_rules_iptables_restore_failures_total: 4,
    });
  });

  test('the script still runs as it is sent to a node', () => {
    const words = ['-I', '-c', readFileSync(script, 'utf8'), '10.244.1.9', '10.96.0.53:9000'];
    const answer = JSON.parse(execFileSync('python3', words, { encoding: 'utf8' })) as object;
    expect(answer).toMatchObject({ mode: expect.any(String), health: expect.any(String), missing: expect.any(Object) });
  });
});
