import { describe, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Inventory } from '../domain/inventory.ts';
import { TargetError, resolveTarget } from '../domain/target.ts';
import { FileError, parseYaml } from '../domain/yaml.ts';
import { root } from './support/imports.ts';

const good = `name: lab
nodes:
  h1: { shell: local, address: 10.0.0.1 }
  h2: { shell: { netns: two }, address: 10.0.0.2 }
  r:
    shell:
      ssh: { host: 192.0.2.1, user: root }
    address: 10.0.0.254
pods:
  p1: { node: h1, netns: one, address: 10.1.0.2 }
  p3: { node: h1, pid: 77, address: 10.1.0.3 }
  p2: { node: h2, netns: three, address: 10.2.0.2 }
services:
  dns: { address: 10.96.0.10, port: 53, endpoints: [{ address: 10.9.9.9, port: 53 }, { address: 10.2.0.2, port: 53 }] }
  lost: { address: 10.96.0.11, port: 53, endpoints: [{ address: 10.9.9.9, port: 53 }] }
paths:
  - { between: [h1, h2], via: [r] }
`;
const inventory = parseYaml(good, 'undrop.yaml', Inventory);

const faultsOf = (text: string): string => {
  try {
    parseYaml(text, 'undrop.yaml', Inventory);
  } catch (error) {
    if (error instanceof FileError) return error.message;
    throw error;
  }
  throw new Error('no fault was found');
};
const replaced = (old: string, text: string): string => {
  expect(good.split(old)).toHaveLength(2);
  return good.replace(old, text);
};

describe('an inventory', () => {
  test('that is right gets its defaults', () => {
    expect(inventory.nodes['r']?.shell).toEqual({
      ssh: { host: '192.0.2.1', port: 22, user: 'root', knownHosts: '~/.ssh/known_hosts' },
    });
    expect(inventory.services['dns']?.probe).toBe('none');
    expect(inventory.approval).toEqual({ approvers: [], quorum: 1, needs: {}, gateways: [], expiresMinutes: 60 });
  });

  test("the lab's own is right", () => {
    const text = readFileSync(join(root, 'lab/netns/undrop.yaml'), 'utf8');
    expect(Object.keys(parseYaml(text, 'lab', Inventory).nodes)).toEqual(['h1', 'h2', 'r']);
  });

  test('has each IPv6 address in the spelling that the kernel prints', () => {
    const text = good.replaceAll('10.2.0.2', 'FD00:0:0:0::00A2').replaceAll('10.9.9.9', '2001:DB8::1:0:0:1');
    const { pods, services } = parseYaml(text, 'undrop.yaml', Inventory);
    expect(pods['p2']?.address).toBe('fd00::a2');
    expect(services['dns']?.endpoints.map(({ address }) => address)).toEqual(['2001:db8::1:0:0:1', 'fd00::a2']);
  });

  test.each([
    ['an address that is none', '10.0.0.2 }', '10.0.0.256 }', 4, 'nodes.h2.address'],
    ['a missing address', ', address: 10.0.0.1 }', ' }', 3, 'nodes.h1.address'],
    ['an unknown kind of shell', 'shell: local', 'shell: telnet', 3, 'nodes.h1.shell'],
    ['a netns name that leads elsewhere', '{ netns: two }', '{ netns: ../../proc/1/ns/net }', 4, 'nodes.h2.shell'],
    ['an ssh host that is an option', 'host: 192.0.2.1', 'host: "-oProxyCommand=x y"', 7, 'nodes.r.shell'],
    ['a word nobody knows', 'node: h2, netns', 'nodde: h2, netns', 12, 'pods.p2'],
    ['a pod on an unknown node', '{ node: h2', '{ node: h9', 12, 'pods.p2.node: there is no node named h9'],
    ['a pod on a node named like a word of JavaScript', '{ node: h2', '{ node: constructor', 12, 'pods.p2.node'],
    ['a pod with both ways in', 'netns: one', 'netns: one, pid: 5', 10, 'pods.p1: give either netns or pid'],
    ['a pod with no way in', 'netns: one, ', '', 10, 'pods.p1: give either netns or pid'],
    ['a port beyond all', '.10, port: 53,', '.10, port: 70000,', 14, 'services.dns.port'],
    ['a Service with the name of a pod', '  lost:', '  p1:', 15, 'services.p1: a node or pod has the same name'],
    ['a hop that is no node', 'via: [r]', 'via: [q]', 17, 'paths.0: there is no node named q'],
    ['a name with a slash', '  h2: {', '  h/2: {', 4, 'nodes.h/2'],
  ])('%s is reported with its line and field', (_, old, text, line, field) => {
    const faults = faultsOf(replaced(old, text)).split('\n');
    expect(faults).toContainEqual(expect.stringContaining(`undrop.yaml:${line} ${field}`));
  });

  test('every fault is reported at once', () => {
    const faults = faultsOf(good.replaceAll('10.0.0.', '10.0.0.x')).split('\n');
    expect(faults.map((fault) => fault.split(':', 2)[1]?.split(' ')[0])).toEqual(['3', '4', '8']);
  });

  test.each([
    ['no YAML', 'name: [', /^undrop\.yaml:1 /],
    ['a key twice', 'name: a\nname: b\n', /^undrop\.yaml:2 .*unique/],
    ['nothing at all', '', /^undrop\.yaml:1 file: /],
    ['an unknown key, by its name', `${good}nodess: {}\n`, /unknown: nodess/],
    ['an alias of nothing', `${good}approval: *policy\n`, /^undrop\.yaml:\d+ .*policy/],
    [
      'aliases that would grow without end',
      `a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c]\n`,
      /alias/i,
    ],
  ])('%s', (_, text, fault) => expect(faultsOf(text)).toMatch(fault));
});

describe('a target', () => {
  test('resolves to every place on the way, in order and back', () => {
    const names = (text: string) => resolveTarget(inventory, text).places.map(({ name, role }) => `${name} ${role}`);
    expect(names('p1->p2')).toEqual(['p1 sender', 'h1 hop', 'r hop', 'h2 hop', 'p2 receiver']);
    expect(names(' p2 -> p1 ')).toEqual(['p2 sender', 'h2 hop', 'r hop', 'h1 hop', 'p1 receiver']);
    expect(names('p1->p3')).toEqual(['p1 sender', 'h1 hop', 'p3 receiver']);
    expect(names('h1->h2')).toEqual(['h1 sender', 'r hop', 'h2 receiver']);
    expect(names('p1->h1')).toEqual(['p1 sender', 'h1 receiver']);
    const two = { ...inventory, nodes: { ...inventory.nodes, q: inventory.nodes['h1']! }, paths: [{ between: ['h1', 'h2'] as [string, string], via: ['r', 'q'] }] }; // prettier-ignore
    expect(resolveTarget(two, 'h1->h2').places.map(({ name }) => name)).toEqual(['h1', 'r', 'q', 'h2']);
    expect(resolveTarget(two, 'h2->h1').places.map(({ name }) => name)).toEqual(['h2', 'q', 'r', 'h1']);
  });

  test('a Service resolves to its first endpoint that can be read', () => {
    const path = resolveTarget(inventory, 'p1->dns');
    expect(path.places.at(-1)).toMatchObject({ name: 'p2', netns: 'three', nodeAddress: '10.0.0.2' });
    expect(path).toMatchObject({ text: 'p1->dns', service: { name: 'dns', port: 53 }, peer: { name: 'p3', pid: 77 } });
  });

  test.each([
    ['p1', /not FROM->TO/],
    ['p1->', /not FROM->TO/],
    ['p1->p2->p3', /not FROM->TO/],
    ['p9->p2', /no "p9"; it has: h1, h2, r, p1, p3, p2, dns, lost/],
    ['p1->p9', /no "p9"/],
    ['p1->p1', /both ends/],
    ['dns->p1', /dns is a Service, and a path starts at a node or pod/],
    ['p1->lost', /no endpoint whose address is a pod or node/],
    ['toString->p1', /no "toString"/],
    ['p1->constructor', /no "constructor"/],
    ['p1->__proto__', /no "__proto__"/],
  ])('"%s" is refused with its reason', (text, why) => {
    expect(() => resolveTarget(inventory, text)).toThrow(TargetError);
    expect(() => resolveTarget(inventory, text)).toThrow(why);
  });
});
