import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ProbeResult, joinProbe } from '../domain/probe.ts';
import type { Place } from '../domain/target.ts';
import { Prober, type SendOrder } from '../nodes/probing/prober.ts';
import { ProcessShell } from '../nodes/shells/process.ts';
import type { Command, Running, Shell } from '../nodes/shells/shell.ts';
import { SshShell } from '../nodes/shells/ssh.ts';
import { root } from './support/imports.ts';
import { Namespaces, inside, line, real } from './support/machine.ts';
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
  });
  afterEach(async () => {
    for (const prober of probers.splice(0)) prober.close();
    await until('every prober is gone', () => processesWith(marker).length === 0);
    for (const place of [0, 1]) for (const chain of ['INPUT', 'OUTPUT']) between(place, `-F ${chain}`);
  });
  afterAll(() => namespaces.remove());

  /** A line of the prober's script, which its command line carries. */
  const marker = 'Sends and answers marked datagrams on one node';

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

  describe('its end', () => {
    test('comes when it is closed', async () => {
      const prober = await opened(places[0]);
      await prober.now();
      expect(processesWith(marker)).toHaveLength(1);
      prober.close();
      await until('it is gone', () => processesWith(marker).length === 0);
      await expect(prober.now()).rejects.toThrow(/probing at p1: it was ended/);
    });

    test('comes when its shell is closed, even while it sends; the waiting caller is told', async () => {
      const own = new ProcessShell();
      const prober = await opened(places[0], own);
      const sending = prober.send({ group: 9, address: places[1].address, port: 9, sizes: [64], count: 500, rate: 10, waitMs: 100 }); // prettier-ignore
      own.close();
      await expect(sending).rejects.toThrow(/probing at p1: it was ended/);
      await until('it is gone', () => processesWith(marker).length === 0);
    });

    test('comes by itself after its time', async () => {
      const prober = await opened(places[0], shell, 1_000);
      await prober.now();
      await until('it is gone', () => processesWith(marker).length === 0, 3_000);
      await expect(prober.now()).rejects.toThrow(/probing at p1: /);
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
        await until('it runs', () => processesWith(marker).length > 0);
        for (const pid of sshd.connections()) process.kill(pid, 'SIGKILL');
        await expect(sending).rejects.toThrow(/probing at p1: the connection was lost/);
        await until('it is gone', () => processesWith(marker).length === 0);
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
        await prober.now();
        console.log('asked');
        await prober.send(${JSON.stringify(slow())});`;
      const asker = spawn(process.execPath, ['--input-type=module', '-e', script], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      await once(asker.stdout, 'data');
      expect(processesWith(marker).length).toBeGreaterThan(0);
      asker.kill('SIGKILL');
      await until('it is gone', () => processesWith(marker).length === 0);
    });
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
    expect(await prober.now()).toBeGreaterThan(1e9);
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
