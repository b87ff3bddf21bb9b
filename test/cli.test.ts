import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type Server, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { stringify } from 'yaml';
import type { Conclusion } from '../domain/verdict.ts';
import { root } from './support/imports.ts';
import { Namespaces, line, real } from './support/machine.ts';
import { freePort } from './support/port.ts';

const folder = mkdtempSync(join(tmpdir(), 'undrop-t-cli-'));
afterAll(() => rmSync(folder, { recursive: true }));

const env = {
  ...process.env,
  NODE_OPTIONS: '',
  UNDROP_DATA: join(folder, 'data'),
  NO_COLOR: '1',
  UNDROP_INVENTORY: '',
};
function undrop(...words: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(join(root, 'undrop'), words, {
    encoding: 'utf8',
    cwd: folder,
    env: { ...env, UNDROP_INVENTORY: undefined },
  });
}
const file = (name: string, text: string | Buffer): string => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};

const commands = [
  'demo', 'diagnose', 'plan', 'approve', 'reject', 'rollback', 'cancel', 'watch', 'show', 'runs', 'worker', 'collect', 'explain',
  'doctor', 'lab', 'runbook test', 'lab matrix', 'policy lint', 'policy test', 'policy explain',
]; // prettier-ignore

describe('help and exit codes', () => {
  test.each(commands)('undrop %s --help has an example', (command) => {
    const { status, stdout } = undrop(...command.split(' '), '--help');
    expect(status).toBe(0);
    expect(stdout).toMatch(/Examples?:\n {2}(TEMPORAL_ADDRESS=\S+ )?undrop /);
  });

  test.each([
    [['frobnicate'], /unknown command 'frobnicate'/],
    [['diagnose'], /missing required argument 'target'/],
    [['diagnose', 'a->b', '--window', 'soon'], /--window takes 0.2 to 600 seconds/],
    [['diagnose', 'a->b', '-i', 'nowhere.yaml'], /there is no inventory nowhere.yaml; docs\/inventory.md/],
    [['plan', 'last', '--remedy', 'x'], /--remedy and --place go together/],
    [
      ['approve', 'last', '--digest', '3f9c2ab'],
      /at least the first 12 digits of a digest, not "3f9c2ab"; nothing was decided/,
    ],
    [['reject', 'last', '--reason', 'no', '--digest', '3f9c2ab1e07'], /at least the first 12 digits/],
    [['runbook', 'test', 'CT-NONE'], /there is no cause CT-NONE/],
    [['policy', 'lint', 'nowhere.yaml'], /there is no policy nowhere.yaml/],
    [['policy', 'test', 'nowhere.yaml', '--at', 'soon'], /--at takes a moment such as/],
    [['explain', 'nothing.gz'], /there is no file nothing.gz, and no run of that name/],
  ])('%j is wrong words: one line, exit code 2', (words, why) => {
    const { status, stderr } = undrop(...words);
    expect(stderr).toMatch(why);
    expect(stderr.trim().split('\n').length).toBeLessThanOrEqual(2);
    expect(status).toBe(2);
  });
});

describe('an inventory that people broke', () => {
  const good = {
    name: 'x',
    nodes: { a: { shell: 'local', address: '192.0.2.1' }, b: { shell: 'local', address: '192.0.2.2' } },
  };
  test.each<[string, string, RegExp]>([
    ['YAML that is none', 'name: [x', /bad.yaml:1 /],
    ['an unknown key', stringify({ ...good, nodez: {} }), /bad.yaml:\d+ nodez: Unrecognized key/],
    ['an address that is none', stringify({ ...good, nodes: { a: { shell: 'local', address: 'here' } } }), /bad.yaml:\d+ nodes.a.address/],
    ['a pod on no node', stringify({ ...good, pods: { p: { node: 'c', netns: 'p', address: '192.0.2.3' } } }), /pods.p.node: there is no node named c/],
    ['a shell word as a name', stringify({ ...good, nodes: { '$(reboot)': { shell: 'local', address: '192.0.2.1' } } }), /letters, digits, dots and dashes only/],
    ['a key that is none', stringify({ ...good, approval: { approvers: [{ name: 'eve', key: 'ssh-ed25519 AAAAbroken' }] } }), /the key of approver eve/],
    ['aliases without end', 'a: &a [x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c,*c,*c,*c]', /bad.yaml:1 /],
  ])('%s is one clear error that names file and field', (_, text, why) => {
    file('bad.yaml', text);
    const { status, stderr } = undrop('diagnose', 'a->b', '-i', 'bad.yaml');
    expect(stderr).toMatch(why);
    expect(status).toBe(2);
  }); // prettier-ignore

  test('an unknown target lists what there is', () => {
    file('good.yaml', stringify(good));
    const { status, stderr } = undrop('diagnose', 'a->constructor', '-i', 'good.yaml');
    expect(stderr).toContain('the inventory has no "constructor"; it has: a, b');
    expect(status).toBe(2);
  });
});

describe('a bundle from anybody', () => {
  test.each<[string, Buffer]>([
    ['text', Buffer.from('hello')],
    ['gzip of text', gzipSync('hello')],
    ['gzip of other JSON', gzipSync('{"undrop":"bundle 9"}')],
    ['a gzip cut short', gzipSync('{"undrop":"bundle 1"}').subarray(0, 12)],
    ['a small file that unpacks without end', gzipSync(Buffer.alloc(300 << 20))],
  ])('%s is one clear error', (_, content) => {
    const { status, stderr } = undrop('explain', file('hostile.gz', content));
    expect(stderr).toMatch(/hostile.gz is no bundle of undrop/);
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect(status).toBe(2);
  });
});

real('ip', 'nft')('offline, and nodes that do not answer', () => {
  const namespaces = new Namespaces();
  let deaf: Server;
  let inventory: string;
  beforeAll(async () => {
    const [near, far] = [namespaces.add('-near'), namespaces.add('-far')];
    line(`ip link add undrop-t0 netns ${near} type veth peer name undrop-t1 netns ${far}`);
    for (const [name, device, address] of [[near, 'undrop-t0', 1], [far, 'undrop-t1', 2]] as const) {
      line(`ip -n ${name} addr add 2001:db8:7::${address}/64 dev ${device} nodad`);
      line(`ip -n ${name} link set ${device} up`);
    } // prettier-ignore
    deaf = createServer(() => {}); // accepts and never says a word
    const port = await freePort();
    await new Promise<void>((resolve) => deaf.listen(port, '127.0.0.1', resolve));
    file('known_hosts', `[127.0.0.1]:${port} ${readFileSync(knownKey(), 'utf8')}`);
    const ssh = {
      host: '127.0.0.1',
      port,
      user: 'root',
      identity: knownKey().replace('.pub', ''),
      knownHosts: join(folder, 'known_hosts'),
    };
    inventory = file('own.yaml', stringify({
      name: 'own',
      nodes: {
        near: { shell: { netns: near }, address: '2001:db8:7::1' },
        far: { shell: { netns: far }, address: '2001:db8:7::2' },
        mute: { shell: { ssh }, address: '2001:db8:7::3' },
        gone: { shell: { netns: 'undrop-t-nowhere' }, address: '2001:db8:7::4' },
      },
      paths: [{ between: ['near', 'far'], via: ['mute', 'gone'] }],
    })); // prettier-ignore
  });
  afterAll(() => {
    namespaces.remove();
    deaf.close();
  });
  const knownKey = (): string => {
    const path = join(folder, 'key');
    spawnSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', path]);
    return `${path}.pub`;
  };

  test('IPv6 works as well, a bundle is judged without a server, and dead nodes are named and hold up nobody', () => {
    const [, far] = namespaces.names;
    line(`ip netns exec ${far} nft add table inet own`);
    spawnSync('ip', ['netns', 'exec', far ?? '', 'nft', 'add chain inet own in { type filter hook input priority 0; }; add rule inet own in udp dport 1024-65535 counter drop']); // prettier-ignore
    const collected = undrop('collect', 'near->far', '-i', inventory, '-o', 'own.gz');
    expect(collected).toMatchObject({ status: 0 });
    const { status, stdout } = undrop('explain', 'own.gz', '--json');
    expect(status).toBe(1);
    const { conclusion } = JSON.parse(stdout) as { conclusion: Conclusion };
    expect(conclusion.roots.map(({ cause, place }) => `${cause}@${place}`)).toEqual(['HOST-FIREWALL@far']);
    expect(Object.keys(conclusion.unseen).toSorted()).toEqual(['gone', 'mute']);
    expect(conclusion.unseen['mute']).toMatch(/no connection within|no end after/);
    line(`ip netns exec ${far} nft delete table inet own`);
  }, 240_000);

  test('doctor names what is wrong with each node and ends with 3', () => {
    const { status, stdout } = undrop('doctor', '-i', inventory, '--json');
    const findings = JSON.parse(stdout) as { about: string; state: string; says: string }[];
    const of = (about: string) => findings.find((one) => one.about === about);
    expect(of('near')).toMatchObject({ state: 'ok' });
    expect(of('mute')).toMatchObject({ state: 'bad' });
    expect(of('gone')).toMatchObject({ state: 'bad', says: expect.stringMatching(/undrop-t-nowhere/) });
    expect(of('approval')).toMatchObject({ state: 'warn', says: expect.stringMatching(/nothing can be changed/) });
    expect(status).toBe(3);
  }, 60_000);
});
