import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ProbeResult, joinProbe, joinSilent } from '../domain/probe-result.ts';
import { Inventory } from '../domain/inventory.ts';
import { Step } from '../domain/runbook.ts';
import { type Place, resolveTarget } from '../domain/target.ts';
import { collect } from '../nodes/observing/collect.ts';
import { Observer } from '../nodes/observing/observer.ts';
import { Prober, type SendOrder } from '../nodes/probing/prober.ts';
import { ProcessShell } from '../nodes/shells/process.ts';
import { ShellPool } from '../nodes/shells/pool.ts';
import type { Command, Running, Shell } from '../nodes/shells/shell.ts';
import { SshShell } from '../nodes/shells/ssh.ts';
import { loadRunbook } from '../runbooks/load.ts';
import { root } from './support/imports.ts';
import { Namespaces, inside, line, real, sh } from './support/machine.ts';
import { Sshd } from './support/sshd.ts';
import { processesWith, until } from './support/until.ts';

const namespaces = new Namespaces();
const shell = new ProcessShell();
const run = randomBytes(8).toString('hex');
const lifeMs = 61_000;
let places: [Place, Place];
let probers: Prober[] = [];
let group = 0;

async function opened(place: Place, over: Shell = shell, life = lifeMs): Promise<Prober> {
  const prober = new Prober(place, run);
  probers.push(prober);
  await prober.open(over, life);
  return prober;
}

/** Sends over the wire between the two places and joins what both sides counted. */
async function probed(change: Partial<SendOrder> = {}, back = false): Promise<ProbeResult> {
  const [from, to] = back ? places.toReversed() : places;
  const [sender, listener] = [await opened(from!), await opened(to!)];
  const port = await listener.listen();
  const order = {
    group: ++group,
    address: to!.address,
    port,
    sizes: [64],
    count: 200,
    rate: 0,
    waitMs: 300,
    ...change,
  };
  const sent = await sender.send(order);
  return joinProbe(sent, await listener.report(order.group));
}
const between = (place: number, rule: string): string => inside(places[place]!.netns ?? '', `iptables ${rule}`);
/** Packets of the only rule of a chain. */
const packets = (place: number, chain: string): number =>
  Number(/^\s*(\d+)/.exec(between(place, `-L ${chain} -vnx`).split('\n')[2] ?? '')?.[1]);

real(
  'ip',
  'iptables',
  'python3',
  'ss',
)('a prober on a real wire', () => {
  beforeAll(async () => {
    const [one, two] = [namespaces.add('-a'), namespaces.add('-b')];
    line(`ip -n ${one} link add eth0 type veth peer name eth0 netns ${two}`);
    places = [one, two].map((netns, index) => {
      const address = `10.9.1.${index + 1}`;
      line(`ip -n ${netns} addr add ${address}/24 dev eth0`);
      line(`ip -n ${netns} addr add fd00:9::${index + 1}/64 dev eth0 nodad`);
      line(`ip -n ${netns} link set eth0 up`);
      return { name: `p${index + 1}`, role: index ? 'receiver' : 'sender', node: 'h', address, nodeAddress: address, netns }; // prettier-ignore
    }) as [Place, Place];
    await until('the wire is there', () => inside(one, 'ip -o link show eth0').includes('state UP'));
    // Before a link's own IPv6 address is proved to be unique nobody answers for the others.
    for (const netns of [one, two])
      await until('IPv6 is there', () => !inside(netns, 'ip -6 -o addr show dev eth0').includes('tentative'), 10_000);
  });
  afterEach(async () => {
    for (const prober of probers.splice(0)) prober.close();
    await until('every prober is gone', () => running().length === 0);
    for (const place of [0, 1]) for (const chain of ['INPUT', 'OUTPUT']) between(place, `-F ${chain}`);
  });
  afterAll(() => namespaces.remove());

  /** A line of the prober's script, which its command line carries. */
  const marker = 'Sends and answers marked datagrams on one node';
  /** The probers of these places: others of this machine are none of this test's business. */
  const running = (): number[] => {
    const here = new Set(namespaces.names.flatMap((name) => sh('ip', 'netns', 'pids', name).split('\n').map(Number)));
    return processesWith(marker).filter((pid) => here.has(pid));
  };

  test('loses nothing where nothing is lost', async () => {
    expect(await probed({ sizes: [20, 64, 1472, 8000], count: 100, rate: 2_000 })).toMatchObject({
      sent: 400, answered: 400, lost: 0, requestLost: 0, replyLost: 0, tooBig: 0, refused: {}, damaged: 0, ownDrops: 0, strange: 0, oneWay: true,
    }); // prettier-ignore
  });

  test.each(['one', 'fresh', 'sequence'])('nor from source ports of the kind "%s"', async (source) => {
    expect(await probed({ source, firstPort: 30_000, count: 300 })).toMatchObject({ sent: 300, lost: 0 });
  });

  test('nor the other way, nor over IPv6, nor with checksums of its own', async () => {
    expect(await probed({}, true)).toMatchObject({ sent: 200, lost: 0 });
    expect(await probed({ checksum: 'software', sizes: [63, 64] })).toMatchObject({ sent: 400, lost: 0 });
    const [from, to] = places;
    places = [
      { ...from, address: 'fd00:9::1' },
      { ...to, address: 'fd00:9::2' },
    ];
    try {
      expect(await probed()).toMatchObject({ sent: 200, lost: 0 });
    } finally {
      places = [from, to];
    }
  });

  test('counts lost requests exactly as the rule that drops them', async () => {
    between(1, '-A INPUT -p udp -m statistic --mode nth --every 4 --packet 0 -j DROP');
    const result = await probed({ sizes: [64, 512], count: 100 });
    expect(packets(1, 'INPUT')).toBe(50);
    expect(result).toMatchObject({ sent: 200, requestLost: 50, replyLost: 0, lost: 50, answered: 150 });
    expect(result.bySize.map(({ lost }) => lost)).toEqual([50, 0]); // sizes alternate, and every fourth is a first one
  });

  test('and lost answers as lost answers', async () => {
    between(0, '-A INPUT -p udp -m statistic --mode nth --every 5 --packet 0 -j DROP');
    const result = await probed();
    expect(packets(0, 'INPUT')).toBe(40);
    expect(result).toMatchObject({ requestLost: 0, replyLost: 40, lost: 40 });
  });

  test('both at once are told apart', async () => {
    between(1, '-A INPUT -p udp -m statistic --mode nth --every 2 --packet 0 -j DROP');
    between(0, '-A INPUT -p udp -m statistic --mode nth --every 4 --packet 0 -j DROP');
    expect(await probed()).toMatchObject({ requestLost: 100, replyLost: 25, lost: 125 });
  });

  test('what the sender has no right to send is refused, by its name, and lost', async () => {
    between(0, '-A OUTPUT -p udp -j DROP');
    expect(await probed({ count: 10 })).toMatchObject({ sent: 10, lost: 10, requestLost: 10, refused: { EPERM: 10 } });
  });

  test('with fragments forbidden and a small MTU it is told that a datagram is too big, which is no loss', async () => {
    inside(places[0].netns ?? '', 'ip link set eth0 mtu 1280');
    try {
      const result = await probed({ sizes: [1252, 1253], count: 10, df: true });
      expect(result).toMatchObject({ sent: 10, tooBig: 10, lost: 0 });
      expect(result.bySize.map(({ size, tooBig }) => [size, tooBig])).toEqual([[1252, 0], [1253, 10]]); // prettier-ignore
      expect(await probed({ sizes: [1253], count: 10, df: false })).toMatchObject({ sent: 10, tooBig: 0, lost: 0 });
    } finally {
      inside(places[0].netns ?? '', 'ip link set eth0 mtu 1500');
    }
  });

  test("another run's datagrams and strangers are not counted", async () => {
    const listener = await opened(places[1]);
    const port = await listener.listen();
    const other = new Prober(places[0], 'f'.repeat(16));
    probers.push(other);
    await other.open(shell, lifeMs);
    const sent = await other.send({ group: 7, address: places[1].address, port, sizes: [64], count: 5, rate: 0, waitMs: 100 }); // prettier-ignore
    expect(sent).toMatchObject({ sent: { 64: 5 }, answered: {} });
    expect(await listener.report(7)).toMatchObject({ arrived: {} });
  });

  describe('a DNS server', () => {
    /** Answers every query with the return code that it is started with; prints their lengths, further records and names. */
    const server = `
import socket, sys
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(('10.9.1.2', 53))
print('ready', flush=True)
while True:
    query, peer = sock.recvfrom(2048)
    print(len(query), query[11], query[12:], flush=True)
    flags, end = 0x8180 | int(sys.argv[1]), query.index(b'\\0', 12) + 5
    sock.sendto(query[:2] + flags.to_bytes(2, 'big') + query[4:6] + bytes(6) + query[12:end].upper(), peer)`;
    const answersOf = async (code: number, change: Partial<SendOrder> = {}) => {
      const process = spawn('nsenter', [`--net=/run/netns/${places[1].netns}`, 'python3', '-c', server, String(code)], { stdio: ['ignore', 'pipe', 'inherit'] }); // prettier-ignore
      let seen = '';
      try {
        await once(process.stdout, 'data');
        process.stdout.on('data', (chunk: Buffer) => (seen += chunk.toString()));
        const sender = await opened(places[0]);
        const order = { group: ++group, address: '10.9.1.2', port: 53, sizes: [64, 300, 512], count: 20, rate: 2000, waitMs: 300, zone: 'k8s.corp', ...change }; // prettier-ignore
        const result = joinProbe(await sender.send(order));
        await until('all were printed', () => seen.trim().split('\n').length >= result.sent);
        return { result, seen };
      } finally {
        process.kill();
      }
    };

    test('is sent queries that are as long as they shall be, and knows no such name', async () => {
      const { result, seen } = await answersOf(3);
      expect(result).toMatchObject({ sent: 60, lost: 0, strange: 0 });
      expect(result.bySize.map(({ size, answered }) => [size, answered])).toEqual([[64, 20], [300, 20], [512, 20]]); // prettier-ignore
      const lengths = new Set(seen.trim().split('\n').map((one) => Number(one.split(' ')[0]))); // prettier-ignore
      expect([...lengths].filter((length) => length >= 100)).toEqual([300, 512]);
      // What pads them is one further record, and is said to be there.
      expect(seen).toMatch(/^300 1 /m);
      expect(seen).toMatch(/^512 1 /m);
      expect(seen).toContain(`${run}-${group}`);
      expect(seen).toMatch(/undrop\\x03svc\\x03k8s\\x04corp\\x00/);
    });

    test('that cannot answer has lost them, and says so', async () => {
      const { result } = await answersOf(2);
      expect(result).toMatchObject({ sent: 60, answered: 0, lost: 60, servfail: 60 });
    });

    test('may refuse or answer from one port as well', async () => {
      const { result } = await answersOf(0, { source: 'one' });
      expect(result).toMatchObject({ sent: 60, lost: 0 });
      expect(result).not.toHaveProperty('servfail');
    });
  });

  describe('of several addresses', () => {
    const asked = () => ({ ...places[1], address: '10.9.1.22' });
    beforeAll(() => void inside(places[1].netns ?? '', 'ip addr add 10.9.1.22/24 dev eth0'));
    afterAll(() => void inside(places[1].netns ?? '', 'ip addr del 10.9.1.22/24 dev eth0'));
    const answersOf = async (listening: Place): Promise<ProbeResult> => {
      const [sender, listener] = [await opened(places[0]), await opened(listening)];
      const port = await listener.listen();
      const order = { group: ++group, address: asked().address, port, sizes: [64], count: 20, rate: 0, waitMs: 100 };
      return joinProbe(await sender.send(order), await listener.report(order.group));
    };

    test('the one that is asked answers', async () => {
      expect(await answersOf(asked())).toMatchObject({ sent: 20, lost: 0, strange: 0 });
    });

    test('an answer from another one is lost, and shows', async () => {
      // It cannot listen on an address that it does not have, so it listens on all.
      const result = await answersOf({ ...places[1], address: '10.9.9.9' });
      expect(result).toMatchObject({ sent: 20, requestLost: 0, replyLost: 20, strange: 20 });
    });
  });

  test('without files left for its ports it was undrop that failed, and nothing is lost', async () => {
    const few = new Dressed(shell, 'sh', '-c', 'ulimit -n 64; exec "$@"', 'sh');
    const [sender, listener] = [await opened(places[0], few), await opened(places[1])];
    const port = await listener.listen();
    const order = { group: ++group, address: places[1].address, port, sizes: [64], count: 100, rate: 0, waitMs: 300, source: 'fresh' }; // prettier-ignore
    const result = joinProbe(await sender.send(order), await listener.report(order.group));
    expect(result.refused).toEqual({ EMFILE: expect.any(Number) });
    expect(result.sent + (result.refused['EMFILE'] ?? 0)).toBe(100);
    expect(result).toMatchObject({ lost: 0, requestLost: 0, replyLost: 0, answered: result.sent });
  });

  describe("on a port that is somebody else's", () => {
    const tuple = () => ({ address: places[0].address, port: 4_444 });
    const order = () => ({ group: ++group, sizes: [64], count: 20, rate: 200, waitMs: 200, tuple: tuple() });

    test('answers count, also before the kernel has translated their source back', async () => {
      const [sender, listener] = [await opened(places[0]), await opened(places[1])];
      const port = await listener.listen();
      between(0, `-t nat -A OUTPUT -p udp -d 10.9.1.50 -j DNAT --to-destination ${places[1].address}:${port}`);
      try {
        const sent = await sender.send({ ...order(), address: '10.9.1.50', port: 53 });
        expect(sent).toMatchObject({ sent: { 64: 20 }, answered: { 64: 20 }, strange: 0 });
      } finally {
        between(0, '-t nat -F');
      }
    });

    test('what its owner is sent does not', async () => {
      const script = `import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('', 5353))
while True:
    s.sendto(b'x' * 64, ('${tuple().address}', ${tuple().port}))
    time.sleep(0.005)`;
      const live = spawn('nsenter', [`--net=/run/netns/${places[1].netns}`, 'python3', '-c', script]);
      try {
        await until('it lives', () => inside(places[1].netns ?? '', 'ss -Hlun sport = 5353') !== '');
        const sender = await opened(places[0]);
        const sent = await sender.send({ ...order(), address: places[1].address, port: 5_353 });
        expect(sent).toMatchObject({ sent: { 64: 20 }, answered: {} });
      } finally {
        live.kill('SIGKILL');
      }
    });
  });

  describe('an application that answers nothing', () => {
    /** Sends from several ports, six from each, to a port that somebody else may have. */
    const unanswered = async (change: Partial<SendOrder> = {}): Promise<ProbeResult> => {
      const [sender, watcher] = [await opened(places[0]), await opened(places[1])];
      await watcher.watch(5_140);
      const order = { group: ++group, address: places[1].address, port: 5_140, sizes: [64], count: 60, rate: 0, waitMs: 300, perPort: 6, ...change }; // prettier-ignore
      const sent = await sender.send(order);
      return joinSilent(sent, [await watcher.watched(order.group, order.perPort)]);
    };
    const mute = `import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(('', 5140))
while True: s.recv(9000)`;
    let application: ReturnType<typeof spawn> | undefined;
    const start = async (): Promise<void> => {
      application = spawn('nsenter', [`--net=/run/netns/${places[1].netns}`, 'python3', '-c', mute]);
      await until('it listens', () => inside(places[1].netns ?? '', 'ss -Hlun sport = 5140') !== '');
    };
    afterEach(() => {
      application?.kill('SIGKILL');
      application = undefined;
    });

    test('gets all, and each first of a source port is known', async () => {
      await start();
      expect(await unanswered()).toMatchObject({ sent: 60, lost: 0, answered: 0, firsts: { sent: 10, arrived: 10 } });
    });

    test('loses what follows the first datagram of a flow that only its mark lets pass, exactly as the rule counts', async () => {
      await start();
      // As a node does: nat marks the first datagram of a flow, and what is answered passes.
      between(0, '-t nat -A OUTPUT -p udp --dport 5140 -j MARK --set-mark 0x4000');
      try {
        between(0, '-A OUTPUT -m mark --mark 0x4000/0x4000 -j ACCEPT');
        between(0, '-A OUTPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT');
        between(0, '-A OUTPUT -p udp --dport 5140 -j DROP');
        const result = await unanswered();
        expect(result).toMatchObject({ sent: 60, lost: 50, requestLost: 50, firsts: { sent: 10, arrived: 10 } });
        expect(between(0, '-L OUTPUT -vnx')).toMatch(/^ +50 .*DROP/m);
        // From a fresh port each, nothing is lost: why probes of one datagram do not see it.
        expect(await unanswered({ perPort: 1 })).toMatchObject({ sent: 60, lost: 0 });
      } finally {
        between(0, '-t nat -F OUTPUT');
      }
    });

    test('where nobody listens nothing has arrived', async () => {
      expect(await unanswered()).toMatchObject({
        sent: 60,
        lost: 60,
        requestLost: 60,
        firsts: { sent: 10, arrived: 0 },
      });
    });
  });

  describe('two senders that must collide', () => {
    const listing = () => sh('ls', '-A', '/dev/shm');
    const order = (over: Partial<SendOrder>): SendOrder => ({
      group: ++group, address: places[1].address, port: 9, sizes: [64], count: 200, rate: 0, waitMs: 0, ...over,
    }); // prettier-ignore
    const two = async (changes: Partial<SendOrder>[]): Promise<Promise<[unknown, number]>[]> => {
      const both = [await opened(places[0]), await opened(places[0])] as const;
      const meet = await both[0].meet();
      const began = performance.now();
      return both.map(async (one, turn): Promise<[unknown, number]> => {
        const answer = await one.send(order({ meet, turn, source: 'one', ...changes[turn] })).catch(String);
        return [answer, performance.now() - began];
      });
    };

    test('wait for each other before each datagram, and leave nothing behind', async () => {
      const before = listing();
      const [fast, slow] = await Promise.all(await two([{}, { rate: 200 }]));
      expect([fast![0], slow![0]]).toMatchObject([{ sent: { 64: 200 } }, { sent: { 64: 200 } }]);
      expect(fast![1]).toBeGreaterThan(950);
      expect(listing()).toBe(before);
    });

    test('but not for one that is done', async () => {
      const answers = await Promise.all(await two([{}, { count: 20 }]));
      expect(answers.map(([answer]) => answer)).toMatchObject([{ sent: { 64: 200 } }, { sent: { 64: 20 } }]);
    });

    test('nor for ever: where the other is killed nothing is concluded', async () => {
      const sending = await two([{}, { rate: 20 }]);
      await sleep(300);
      const before = listing();
      probers.at(-1)!.close();
      const [[left], [killed]] = (await Promise.all(sending)) as [[unknown, number], [unknown, number]];
      expect(left).toMatch(/probing at p1: RuntimeError: the two senders did not get to run at the same time/);
      expect(killed).toMatch(/it was ended/);
      expect(listing()).toBe(before);
    }, 15_000);
  });

  describe('its end', () => {
    test('comes when it is closed', async () => {
      const prober = await opened(places[0]);
      await prober.meet();
      expect(running()).toHaveLength(1);
      prober.close();
      await until('it is gone', () => running().length === 0);
      await expect(prober.meet()).rejects.toThrow(/probing at p1: it was ended/);
    });

    test('comes when its shell is closed, even while it sends; the waiting caller is told', async () => {
      const own = new ProcessShell();
      const prober = await opened(places[0], own);
      const sending = prober.send({ group: 9, address: places[1].address, port: 9, sizes: [64], count: 500, rate: 10, waitMs: 100 }); // prettier-ignore
      own.close();
      await expect(sending).rejects.toThrow(/probing at p1: it was ended/);
      await until('it is gone', () => running().length === 0);
    });

    test('comes by itself after its time', async () => {
      const prober = await opened(places[0], shell, 1_000);
      await prober.meet();
      await until('it is gone', () => running().length === 0, 3_000);
      await expect(prober.meet()).rejects.toThrow(/probing at p1: /);
    });

    // Slow enough that it would go on for minutes.
    const slow = () => ({
      group: 9,
      address: places[1].address,
      port: 9,
      sizes: [64],
      count: 10_000,
      rate: 100,
      waitMs: 100,
    });

    test('comes when its ssh connection is cut, even while it sends', async () => {
      const sshd = await Sshd.start();
      const remote = new SshShell(sshd.spec);
      try {
        const prober = await opened(places[0], remote);
        const sending = prober.send(slow());
        await until('it runs', () => running().length > 0);
        for (const pid of sshd.connections()) process.kill(pid, 'SIGKILL');
        await expect(sending).rejects.toThrow(/probing at p1: the connection was lost/);
        await until('it is gone', () => running().length === 0);
      } finally {
        remote.close();
        await sshd.stop();
      }
    });

    test('comes when the process that asked it is killed, even while it sends', async () => {
      const script = `
        import { Prober } from '${root}nodes/probing/prober.ts';
        import { ProcessShell } from '${root}nodes/shells/process.ts';
        const prober = new Prober(${JSON.stringify(places[0])}, '${run}');
        await prober.open(new ProcessShell(), ${lifeMs});
        await prober.meet();
        console.log('asked');
        await prober.send(${JSON.stringify(slow())});`;
      const asker = spawn(process.execPath, ['--input-type=module', '-e', script], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      await once(asker.stdout, 'data');
      expect(running().length).toBeGreaterThan(0);
      asker.kill('SIGKILL');
      await until('it is gone', () => running().length === 0);
    });
  });

  /** An inventory in which the two places are pods. */
  const ours = (): Inventory => {
    const pod = ({ address, netns }: Place) => ({ node: 'h', address, netns });
    const pods = { p1: pod(places[0]), p2: pod(places[1]) };
    return Inventory.parse({ name: 't', nodes: { h: { shell: 'local', address: '10.9.1.1' } }, pods });
  };

  test('an observer opens a new prober where the last one has ended: a lost connection costs one step and not all', async () => {
    const inventory = ours();
    const path = resolveTarget(inventory, 'p1->p2');
    const pool = new ShellPool(inventory);
    const observer = new Observer(pool, path, run);
    const step = Step.parse({
      id: 'small',
      question: '?',
      probe: { route: 'path', sizes: [64], count: 10, rate: 1000 },
    });
    const take = async () => (await observer.take(step, { path, windows: [] })).map(({ probe }) => probe);
    try {
      expect(await take()).toMatchObject([{ sent: 10, lost: 0 }]);
      const before = running();
      expect(before.length).toBeGreaterThan(0);
      for (const pid of before) process.kill(pid, 'SIGKILL');
      await until('they are gone', () => running().length === 0);
      await sleep(200); // until their ends have been told here
      expect(await take()).toMatchObject([{ sent: 10, lost: 0 }]);
      const between = await observer.between();
      expect(between).toMatchObject({ step: 'between', after: { samples: { p1: {}, p2: {} } } });
      expect(between.probe).toBeUndefined();
      await until('its probers are gone', () => running().length === 0);
      expect(await take()).toMatchObject([{ sent: 10, lost: 0 }]);
    } finally {
      observer.close();
      await pool.close();
    }
  });

  test("what a failed step has moved is in no other step's window", async () => {
    const inventory = ours();
    const pool = new ShellPool(inventory);
    const probe = { route: 'path', sizes: [64], count: 10, rate: 1000 };
    const steps = [
      Step.parse({ id: 'pair', question: '?', probe: { ...probe, withPeer: true } }),
      Step.parse({ id: 'small', question: '?', probe }),
    ];
    const all = loadRunbook();
    const runbook = { ...all, methodology: { ...all.methodology, steps }, causes: [] };
    const told: unknown[] = [];
    const onStep = (step: Step, result: object) => told.push([step.id, result]);
    try {
      const { parts } = await collect(pool, resolveTarget(inventory, 'p1->p2'), runbook, { windowMs: 50, onStep });
      expect(told).toMatchObject([
        ['pair', { failed: 'there is no second pod on the node of the sender' }],
        ['small', { sent: 10, lost: 0 }],
      ]);
      expect(parts.map(({ step, probe: sent }) => [step, sent?.sent])).toEqual([
        ['control', undefined],
        ['between', undefined],
        ['small', 10],
      ]);
    } finally {
      await pool.close();
    }
  });

  test('a cancelled probe ends the wait at once', async () => {
    const prober = await opened(places[0]);
    const order = { group: 3, address: places[1].address, port: 9, sizes: [64], count: 500, rate: 10, waitMs: 100 };
    await expect(prober.send(order, AbortSignal.timeout(50))).rejects.toThrow(/probing at p1: it was cancelled/);
    await expect(prober.send(order, AbortSignal.abort())).rejects.toThrow(/probing at p1: it was cancelled/);
  });

  test('an order that cannot be carried out gives its reason, and the next one works', async () => {
    const prober = await opened(places[0]);
    await expect(prober.report(1)).rejects.toThrow(/probing at p1: AttributeError/);
    expect(await prober.meet()).toMatch(/^\/proc\/\d+\/fd\/\d+$/);
  });

  test('without python3 the place is named, and what is missing there', async () => {
    const empty = mkdtempSync(join(tmpdir(), 'undrop-t-'));
    const prober = await opened(places[0], new Dressed(shell, 'env', `PATH=${empty}`));
    await expect(prober.listen()).rejects.toThrow('probing at p1: python3 is missing there, which probes need');
    rmSync(empty, { recursive: true });
  });
});

/** The shell with words before each command. */
class Dressed implements Shell {
  private readonly shell: Shell;
  private readonly words: string[];
  constructor(over: Shell, ...words: string[]) {
    this.shell = over;
    this.words = words;
  }
  start(command: Command, onStdout?: (text: string) => void): Promise<Running> {
    return this.shell.start({ ...command, argv: [...this.words, ...command.argv] }, onStdout);
  }
  close(): void {}
}
