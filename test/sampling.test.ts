import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deltaOf } from '../domain/evidence.ts';
import { Sample } from '../domain/sample.ts';
import { takeSample } from '../nodes/sampling/sample.ts';
import { ProcessShell } from '../nodes/shells/process.ts';
import { type Command, type Running, type Shell } from '../nodes/shells/shell.ts';
import { Namespaces, inside, line, real, sh } from './support/machine.ts';
import { until } from './support/until.ts';

const namespaces = new Namespaces();
const folder = mkdtempSync(join(tmpdir(), 'undrop-t-'));
const shell = new ProcessShell();
let netns = '';
const place = (name = netns) => ({ name: 'p1', role: 'sender' as const, node: 'h1', address: '10.9.0.1', nodeAddress: '10.9.0.1', netns: name }); // prettier-ignore
const reading = {
  mode: 'full' as const,
  routes: ['10.9.0.2', '192.0.2.1', '10.66.0.1'],
  flowsTo: [{ address: '10.9.0.2', port: 53 }],
};

/** Sends datagrams to an address of the namespace, or out of it. */
const send = (port: number, count: number, address: string): string =>
  sh('nsenter', `--net=/run/netns/${netns}`, 'python3', '-c', `import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\nfor _ in range(${count}): s.sendto(b'x', ('${address}', ${port}))`); // prettier-ignore

/** A process of the namespace; it ends with the namespace at the latest. */
const inNamespace = (script: string): ChildProcess =>
  spawn('nsenter', [`--net=/run/netns/${netns}`, 'python3', '-c', script], { stdio: 'ignore' });

/** The shell as on other nodes: the command's first word and its environment are another one. */
class Dressed implements Shell {
  private readonly words: string[];
  constructor(...words: string[]) {
    this.words = words;
  }
  start(command: Command, onStdout?: (text: string) => void): Promise<Running> {
    return shell.start({ ...command, argv: [...this.words, ...command.argv] }, onStdout);
  }
  close(): void {}
}

/** A namespace in which something of everything is known to be there. */
async function furnish(): Promise<void> {
  netns = namespaces.add();
  for (const one of [
    `link add eth0 type veth peer name eth1`,
    `link set eth0 mtu 1400`,
    `addr add 10.9.0.1/24 dev eth0`,
    `link set eth0 up`,
    `link set eth1 up`,
    `link add vx0 type vxlan id 7 dstport 8472 local 10.9.0.1`,
    `route add blackhole 10.66.0.0/16`,
    `neigh add 10.9.0.2 lladdr 0a:00:00:00:00:02 dev eth0`,
  ])
    line(`ip -n ${netns} ${one}`);
  line(`tc -n ${netns} qdisc add dev eth0 root tbf rate 8kbit burst 20 limit 1000`);
  for (const rule of [
    '-A INPUT -p udp --dport 4444 -j DROP',
    '-A INPUT -m conntrack --ctstate INVALID -j DROP',
    '-A INPUT -p tcp --dport 80 -j REJECT',
    '-t nat -A POSTROUTING -s 10.9.9.0/24 -j MASQUERADE',
  ])
    inside(netns, `iptables ${rule}`);
  inside(netns, 'nft add table inet fw');
  sh('nsenter', `--net=/run/netns/${netns}`, 'nft', 'add chain inet fw in { type filter hook input priority 5 ; }');
  inside(netns, 'nft add rule inet fw in udp dport 4445 counter drop');
  inNamespace("import socket\nsock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\nsock.bind(('10.9.0.1', 4321))\nboth = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)\nboth.bind(('::', 4322))\nwhile True: sock.recv(1)"); // prettier-ignore
  await until('the socket is there', () => inside(netns, 'ss -Hlun sport = 4322'));
  // Nobody answers for this address, so its entry fails.
  send(9, 1, '10.9.0.77');
  await until('the neighbour has failed', () => line(`ip -n ${netns} neigh show 10.9.0.77`).includes('FAILED'), 10_000);
}

real(
  'ip',
  'tc',
  'iptables',
  'nft',
  'conntrack',
  'ethtool',
  'python3',
  'ss',
)('a sample of a real namespace', () => {
  beforeAll(furnish);
  afterAll(() => {
    namespaces.remove();
    rmSync(folder, { recursive: true });
  });

  /** What must be in any full sample of the furnished namespace. */
  function checked(sample: Sample): void {
    expect(Sample.parse(sample)).toEqual(sample);
    expect(sample.netns).toBe(/\d+/.exec(inside(netns, 'readlink /proc/self/ns/net'))?.[0]);
    expect(sample.bootId).toBe(sh('cat', '/proc/sys/kernel/random/boot_id').trim());
    expect(sample.kernel).toBe(sh('uname', '-r').trim());
    expect(sample.counters).toMatchObject({ UdpNoPorts: expect.any(Number), UdpRcvbufErrors: 0, IpReasmFails: 0, softnet_dropped: expect.any(Number), conntrack_insert_failed: expect.any(Number) }); // prettier-ignore
    expect(sample.rules.map(({ verdict, protocol, invalid, text }) => [verdict, protocol, invalid, text])).toEqual(
      expect.arrayContaining([
        ['drop', 'udp', false, expect.stringContaining('--dport 4444')],
        ['drop', 'udp', true, expect.stringContaining('INVALID')],
        ['reject', 'other', false, expect.stringContaining('--dport 80')],
        ['masquerade', 'udp', false, expect.stringContaining('10.9.9.0/24')],
        ['drop', 'udp', false, expect.stringMatching(/^nft inet fw in: .*4445/)],
      ]),
    );
    expect(sample.rules).toHaveLength(5);
    expect(sample.sockets).toEqual([
      expect.objectContaining({ address: '0100090A', port: 4321, drops: 0, queued: 0 }),
      expect.objectContaining({ address: '0'.repeat(32), port: 4322, drops: 0 }),
    ]);
    expect(sample.devices).toMatchObject({ 'link.eth0.tx_dropped': expect.any(Number), 'qdisc.eth0.tbf.dropped': expect.any(Number) }); // prettier-ignore
  }
  const links = [
    { name: 'lo', mtu: 65536, kind: 'loopback', up: true },
    { name: 'eth1', mtu: 1500, kind: 'veth', up: true },
    { name: 'eth0', mtu: 1400, kind: 'veth', up: true },
    { name: 'vx0', mtu: expect.any(Number), kind: 'vxlan', up: false },
  ];

  const silent = { address: '10.9.0.77', device: 'eth0', state: 'FAILED' };

  test('has exactly what is there', async () => {
    const sample = await takeSample(shell, place(), reading);
    checked(sample);
    expect(sample.missing).toEqual({ arp: expect.stringMatching(/no .*arp_cache in this network namespace/) });
    expect(sample.cut).toEqual([]);
    expect(sample.links).toHaveLength(4);
    expect(sample.links).toEqual(expect.arrayContaining(links));
    expect(sample.neighbours).toEqual([silent, { address: '10.9.0.2', device: 'eth0', state: 'PERMANENT' }]);
    expect(sample.routes).toMatchObject({ '10.9.0.2': { device: 'eth0', error: '' }, '192.0.2.1': { device: '', error: 'Network is unreachable' }, '10.66.0.1': { device: '', error: expect.stringMatching(/Invalid argument|blackhole/) } }); // prettier-ignore
    expect(sample.features['eth0']).toMatchObject({ 'tx-checksum-ip-generic': true, 'scatter-gather': true });
    expect(sample.gauges['nf_conntrack_max']).toBe(
      Number(inside(netns, 'cat /proc/sys/net/netfilter/nf_conntrack_max')),
    );
    expect(sample.tools).toEqual(
      expect.arrayContaining(['conntrack', 'ethtool', 'nft', 'iptables-save', 'tc', 'python']),
    );
    expect(sample.root).toBe(true);
  });

  test('two of them show exactly what happened in between', async () => {
    const before = await takeSample(shell, place(), { mode: 'light' });
    send(4444, 7, '10.9.0.1'); // dropped by the rule
    send(4445, 4, '10.9.0.1'); // dropped by nft's
    send(4000, 5, '10.9.0.1'); // nobody listens
    send(4321, 3, '10.9.0.1'); // received
    send(4321, 6, '10.9.0.2'); // lost by the qdisc
    send(4322, 2, '10.9.0.1'); // not read by the socket of both families, whose queue takes them
    const after = await takeSample(shell, place(), { mode: 'light' });
    const delta = deltaOf(before, after);
    if ('void' in delta) throw new Error(delta.void);
    expect(delta.counters).toMatchObject({
      UdpNoPorts: 5,
      UdpInErrors: 0,
      UdpInDatagrams: 3,
      UdpOutDatagrams: 21,
      UdpSndbufErrors: 6,
    });
    const moved = Object.entries(delta.rules).filter(([, packets]) => packets > 0);
    expect(moved).toEqual([[expect.stringContaining('4444'), 7], [expect.stringContaining('4445'), 4]]); // prettier-ignore
    expect(delta.devices['qdisc.eth0.tbf.dropped']).toBeGreaterThanOrEqual(6);
    expect(Object.keys(delta.sockets)).toHaveLength(2);
    expect(after.sockets.find(({ port }) => port === 4322)?.queued).toBeGreaterThan(0);
    expect(after.neighbours).toEqual([silent]);
  });

  test('has what CPU limits took from the processes that are named, each by its own view of its cgroup', async () => {
    const contained = (file: string, throttled: number): ChildProcess =>
      spawn('unshare', ['--mount', 'sh', '-c', `cd /sys/fs/cgroup && mount -t tmpfs none . && cd . && mkdir -p "$(dirname /sys/fs/cgroup/${file})" && printf 'nr_periods 9\\nnr_throttled ${throttled}\\n' >/sys/fs/cgroup/${file} && echo ready && exec sleep 60`], { stdio: ['ignore', 'pipe', 'ignore'] }); // prettier-ignore
    const all = [contained('cpu.stat', 1), contained('cpu/cpu.stat', 2), contained('cpu,cpuacct/cpu.stat', 4)];
    try {
      await Promise.all(all.map(async ({ stdout }) => once(stdout!, 'data')));
      const containers = all.map(({ pid = 0 }) => pid);
      const read = async (): Promise<Sample> => takeSample(shell, { ...place(), containers }, { mode: 'light' });
      expect((await read()).counters).toMatchObject({ cpu_periods: 27, cpu_throttled: 7 });
      const [first] = all;
      first?.kill('SIGKILL');
      await until('it is gone', () => !existsSync(`/proc/${first?.pid}`));
      // A sum without the one that is gone would go down, and make the whole pair of samples void.
      expect(await read()).toMatchObject({ missing: { cpu: 'a process of the pod has ended' } });
      expect((await read()).counters).not.toHaveProperty('cpu_throttled');
    } finally {
      for (const one of all) one.kill('SIGKILL');
    }
  });

  test("lists the conntrack entries of the asked Service and nobody else's", async () => {
    send(53, 1, '10.9.0.2');
    const { entries } = await takeSample(shell, place(), reading);
    expect(entries).toContainEqual(expect.objectContaining({ source: '10.9.0.1', destination: '10.9.0.2', destinationPort: 53, replySource: '10.9.0.2', unreplied: true })); // prettier-ignore
    expect(entries.every(({ destination }) => destination === '10.9.0.2')).toBe(true);
  });

  test('is the same in another locale', async () => {
    const german = new Dressed('env', 'LC_ALL=de_DE.UTF-8', 'LANG=de_DE.UTF-8', 'LANGUAGE=de');
    const sample = await takeSample(german, place(), reading);
    checked(sample);
    expect(sample.links).toEqual(expect.arrayContaining(links));
  });

  test('names the place where there is no such namespace, no shell, or not the time', async () => {
    await expect(takeSample(shell, place('undrop-t-none'), reading)).rejects.toThrow(/^p1: .*undrop-t-none/);
    await expect(takeSample(new Dressed('undrop-no-such'), place(), reading)).rejects.toThrow(/^p1: .*undrop-no-such/);
    await expect(takeSample(new Dressed('false'), place(), reading)).rejects.toThrow(/^p1: .*status 1/);
    await expect(takeSample(new Dressed('true'), place(), reading)).rejects.toThrow(/^p1: .*broke off/);
    await expect(takeSample(shell, place(), { ...reading, signal: AbortSignal.abort() })).rejects.toThrow(
      /^p1: .*cancelled/,
    );
  });

  test('of a node that lacks tools says of each part what is missing, and takes nothing for healthy', async () => {
    const bare = join(folder, 'bare');
    mkdirSync(bare);
    for (const tool of 'sh awk grep stat timeout'.split(' '))
      symlinkSync(
        sh('sh', '-c', `command -v ${tool}`)
          .trim()
          .replace(/^(?!\/)/, '/bin/'),
        join(bare, tool),
      );
    // The sampler looks into /usr/sbin and its like by itself, so they are empty here.
    const hidden = `mount -t tmpfs none /usr/sbin; mount -t tmpfs none /usr/local/sbin; exec env -i PATH=${bare} "$@"`;
    const sample = await takeSample(new Dressed('unshare', '-m', 'sh', '-c', hidden, 'sh'), place(), reading);
    expect(sample.missing).toMatchObject({ iptables: 'no program iptables-save', nft: 'no program nft', qdisc: 'no program tc', links: 'no program ip', features: 'no program ethtool', nicstats: 'no program ethtool', routes: 'no program ip', neighbours: 'no program ip', entries: 'no program conntrack', log: 'no program dmesg' }); // prettier-ignore
    expect(sample).toMatchObject({ rules: [], links: [], features: {}, routes: {}, entries: [], tools: [] });
    expect(sample.counters['UdpNoPorts']).toEqual(expect.any(Number));
  });

  test('by somebody without rights marks what they may not read', async () => {
    const nobody = new Dressed('setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--inh-caps=-all');
    const sample = await takeSample(nobody, place(), reading);
    expect(sample.root).toBe(false);
    for (const part of ['iptables', 'nft', 'entries', 'log']) expect(sample.missing).toHaveProperty(part);
    expect(sample.rules).toEqual([]);
  });

  real('iptables-legacy')('with tables of the old kind beside those of nf_tables', () => {
    test('has the rules of both', async () => {
      inside(netns, 'iptables-legacy -A INPUT -p udp --dport 4447 -j DROP');
      send(4447, 3, '10.9.0.1');
      const both = await takeSample(shell, place(), { mode: 'light' });
      expect(both.rules).toContainEqual(expect.objectContaining({ id: expect.stringMatching(/^legacy filter: .*4447/), packets: 3, verdict: 'drop' })); // prettier-ignore
      inside(netns, 'iptables-legacy -F INPUT');
    });
  });

  real('busybox')('with busybox', () => {
    test('has the same', async () => {
      const tools = join(folder, 'busybox');
      mkdirSync(tools);
      execFileSync('busybox', ['--install', '-s', tools]);
      const sample = await takeSample(new Dressed('env', '-i', `PATH=${tools}`), place(), reading);
      checked(sample);
      // Its `ip` knows no `-d`: which kind a device has is not guessed then.
      for (const [part, why] of Object.entries(sample.missing)) {
        expect(['arp', 'links']).toContain(part);
        if (part === 'links') expect(why).toBe('it failed with status 1');
      }
      expect(sample.neighbours).toContainEqual({ address: '10.9.0.77', device: 'eth0', state: 'FAILED' });
      expect(sample.routes).toMatchObject({ '10.9.0.2': { device: 'eth0', error: '' }, '192.0.2.1': { device: '', error: expect.stringContaining('unreachable') } }); // prettier-ignore
      expect(sample.features['eth0']).toMatchObject({ 'tx-checksum-ip-generic': true });
    });
  });

  describe('of a namespace with 20,000 rules, 5,000 flows and 900 sockets', () => {
    let sockets: ChildProcess;
    beforeAll(async () => {
      const rules = Array.from({ length: 20_000 }, (_, index) => `-A FORWARD -p udp --dport ${index + 1} -j DROP`);
      execFileSync('nsenter', [`--net=/run/netns/${netns}`, 'iptables-restore', '--noflush'], { input: `*filter\n${rules.join('\n')}\nCOMMIT\n` }); // prettier-ignore
      sh('nsenter', `--net=/run/netns/${netns}`, 'python3', '-c', "import socket\nfor port in range(20000, 25000):\n with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:\n  s.bind(('10.9.0.1', port)); s.sendto(b'x', ('10.9.0.2', 53))"); // prettier-ignore
      sockets = inNamespace("import socket\nall = []\nfor port in range(30000, 30900):\n s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('10.9.0.1', port)); all.append(s)\n__import__('time').sleep(300)"); // prettier-ignore
      await until('the sockets are there', () => inside(netns, 'ss -Hlun sport = 30899'));
    }, 60_000);
    afterAll(() => {
      sockets.kill('SIGKILL');
    });

    test('of cards with 64 queues only the whole is listed', async () => {
      for (let card = 0; card < 8; card++) {
        line(`ip -n ${netns} link add card${card} numtxqueues 64 type veth peer name end${card}`);
        line(`tc -n ${netns} qdisc add dev card${card} root mq`);
        line(`ip -n ${netns} link set card${card} up`);
      }
      const sample = await takeSample(shell, place(), { mode: 'light' });
      expect(sample.cut).not.toContain('qdisc');
      expect(sample.devices).toHaveProperty(['qdisc.card7.mq.dropped'], 0);
    });

    test('files of which the reading hangs halfway are missing, and nothing else', async () => {
      const halting = join(folder, 'halting');
      mkdirSync(halting);
      const awk = sh('sh', '-c', 'command -v awk').trim();
      const script = `#!/bin/sh\ncase $* in *ARGC*) ${awk} "$@" | head -c 3000; sleep 60 ;; *) exec ${awk} "$@" ;; esac\n`;
      writeFileSync(join(halting, 'awk'), script, { mode: 0o755 });
      const sample = await takeSample(new Dressed('env', `PATH=${halting}:${process.env['PATH']}`), place(), {
        mode: 'light',
      });
      expect(sample.counters['UdpNoPorts']).toEqual(expect.any(Number));
      for (const part of ['dev', 'udp', 'udp6', 'softnet', 'conntrack']) expect(sample.missing).toHaveProperty(part);
      for (const part of ['iptables', 'nft', 'qdisc', 'sysctls']) expect(sample.missing).not.toHaveProperty(part);
      expect(sample.rules.length).toBeGreaterThan(100);
    });

    test('an ethtool that hangs costs two seconds, not two for each device', async () => {
      const slow = join(folder, 'slow');
      mkdirSync(slow);
      writeFileSync(join(slow, 'ethtool'), '#!/bin/sh\nsleep 1\n', { mode: 0o755 });
      const sample = await takeSample(new Dressed('env', `PATH=${slow}:${process.env['PATH']}`), place(), reading);
      expect(sample.missing).toMatchObject({ features: 'it took longer than 2 s and was given up' });
    });

    test('it stays small and quick, and says what was cut', async () => {
      const start = Date.now();
      const sample = await takeSample(shell, place(), reading);
      expect(Date.now() - start).toBeLessThan(8_000);
      expect(JSON.stringify(sample).length).toBeLessThan(768 << 10);
      expect([...sample.cut, ...Object.keys(sample.missing)]).toEqual(
        expect.arrayContaining(['iptables', 'entries', 'udp']),
      );
      for (const { sourcePort, destination } of sample.entries) {
        expect(sourcePort).toBeGreaterThanOrEqual(53);
        expect(destination).toBe('10.9.0.2');
      }
      expect(sample.sockets.length).toBeGreaterThan(100);
      expect(sample.gauges['nf_conntrack_count']).toBeGreaterThanOrEqual(5_000);
      expect(sample.counters['UdpNoPorts']).toEqual(expect.any(Number));
    });
  });
});
