import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { conclude } from '../domain/conclude.ts';
import { watchedWindow } from '../domain/evidence.ts';
import type { ProbeResult } from '../domain/probe-result.ts';
import type { Watched } from '../domain/watched.ts';
import { evidenceOf } from '../domain/steps.ts';
import { type Place, resolveTarget } from '../domain/target.ts';
import type { Conclusion } from '../domain/verdict.ts';
import type { Fault } from '../lab/fault.ts';
import { down, faultNamed, heal, inLab, inject, labInventory, up } from '../lab/lab.ts';
import { Capture } from '../nodes/capturing/capture.ts';
import { watch } from '../nodes/observing/watch.ts';
import { ProcessShell } from '../nodes/shells/process.ts';
import { ShellPool } from '../nodes/shells/pool.ts';
import { loadRunbook } from '../runbooks/load.ts';
import { inside, real } from './support/machine.ts';
import { Road, diagnosed } from './support/road.ts';
import { processesWith, until } from './support/until.ts';

const lab = 'netns';
const inventory = labInventory(lab);
const runbook = loadRunbook();
const shells = new ShellPool(inventory);
const namespaces = ['p1', 'h1', 'r', 'h2', 'p2'];
let broken: Fault | undefined;

/** Users' traffic from p1, other than undrop's. */
async function users(words = '10.96.0.10 9000'): Promise<void> {
  const before = sentAtAll();
  await inLab(lab, `spawn users p1 python3 -I "$UNDROP_LAB_HOME/users.py" ${words}`, 'users');
  // Each flow has its entry before anything is broken.
  await until('users send', () => sentAtAll() > before + 250, 20_000);
}

const sentAtAll = (): number => {
  const [, values = ''] = inside('undrop-p1', 'cat /proc/net/snmp').split('\n').filter((one) => one.startsWith('Udp:')); // prettier-ignore
  return Number(values.split(' ')[4]);
};

interface Passive {
  conclusion: Conclusion;
  probe: ProbeResult;
  watched: Watched;
}

async function passively(target = 'p1->echo', windowMs = 3000): Promise<Passive> {
  const seen = await watch(shells, resolveTarget(inventory, target), { windowMs });
  expect(seen.failed).toBeUndefined();
  const evidence = evidenceOf(seen);
  const probe = watchedWindow(evidence)?.probe;
  if (!probe?.watched) throw new Error('nothing was watched');
  return { conclusion: conclude(runbook, evidence), probe, watched: probe.watched };
}

const rootsOf = ({ roots }: Conclusion): string[] => roots.map(({ cause, place }) => `${cause}@${place}`);
const breaks = async (id: string): Promise<void> => inject((broken = faultNamed(id)));
const captures = (): number[] => processesWith('Watches the datagrams of some servers');

/** Packets of a rule that only counts what a namespace itself sends by UDP: raw sockets pass it as well. */
const sentBy = (name: string): number => Number(/^\s*(\d+)/.exec(inside(`undrop-${name}`, 'iptables -L OUTPUT 1 -vnx'))?.[1]); // prettier-ignore

real(
  'ip',
  'iptables',
  'nft',
  'conntrack',
  'python3',
)('users’ traffic that is watched', () => {
  beforeAll(() => up(lab), 60_000);
  afterEach(async () => {
    await inLab(lab, 'reap users; reap other; reap sink');
    if (broken) await heal(broken);
    broken = undefined;
    expect(captures()).toEqual([]);
  });
  afterAll(async () => {
    await shells.close();
    await down(lab);
  });

  test.each([
    ['each datagram another', ''],
    ['all with the same bytes', '--equal'],
    ['in fragments', '--size 4000'],
    ['each from a port of its own', '--ports 200'],
  ])('arrives where nothing is broken: %s', async (_, words) => {
    await users(`10.96.0.10 9000 ${words}`);
    const { conclusion, probe, watched } = await passively();
    expect(conclusion).toMatchObject({ kind: 'no-loss', passive: true });
    expect(probe).toMatchObject({ lost: 0, requestLost: 0, replyLost: 0 });
    // 200 a second for 3 s.
    expect(watched.requests).toBeGreaterThan(400);
    expect(Math.abs(watched.replies - watched.requests)).toBeLessThan(10);
  });

  test.each(['', '--equal'])(
    'a rule that drops every second one is the cause, and counts what users lost %s',
    async (words) => {
      await users(`10.96.0.10 9000 --rate 400 ${words}`);
      await breaks('random-drop');
      const { conclusion, probe } = await passively('p1->echo', 4000);
      expect(rootsOf(conclusion)).toEqual(['HOST-FIREWALL@r']);
      expect(conclusion.kind).toBe('explained');
      const [account] = conclusion.accounts;
      expect(account).toMatchObject({ step: 'passive', lost: probe.lost });
      expect(probe.lost).toBeGreaterThan(500);
      expect(Math.abs((account?.explained[0]?.counted ?? 0) / probe.lost - 1)).toBeLessThan(0.1);
    },
  );

  test('a stale flow loses all, the others nothing, and the entry is proved by exactly its datagrams', async () => {
    await users();
    await breaks('stale-entry');
    const { conclusion, probe, watched } = await passively();
    expect(rootsOf(conclusion)).toEqual(['CT-STALE-EP@h1']);
    const [root] = conclusion.roots;
    expect(root).toMatchObject({ counted: probe.lost, lost: probe.lost });
    expect(probe.lost).toBeGreaterThan(20);
    expect(watched.flows.filter(({ lost }) => lost > 0)).toEqual([
      expect.objectContaining({ sourcePort: 40123, sent: probe.lost, lost: probe.lost }),
    ]);
    expect(root?.says).toMatch(/other flows work \((\d+) of \1 arrived\)/);
  });

  test('what the application is too slow to read arrived at its interface, and its socket counts it', async () => {
    await users('10.96.0.10 9000 --rate 500');
    await breaks('slow-reader');
    const { conclusion, probe, watched } = await passively();
    expect(rootsOf(conclusion)).toEqual(['SOCK-RCVBUF@p2']);
    // None was lost on the way: all of it came to the interface.
    expect(probe.requestLost).toBe(watched.unread);
    expect(watched.unread).toBeGreaterThan(100);
  });

  test('nothing listens: said by the receiver, which counts each of them', async () => {
    await users();
    await breaks('no-listener');
    const { conclusion, probe, watched } = await passively();
    expect(rootsOf(conclusion)).toEqual(['UDP-NOPORT@p2']);
    expect(watched).toMatchObject({ replies: 0, unread: probe.lost });
  });

  test('an application that never answers loses nothing, and that it does not is told', async () => {
    broken = faultNamed('no-listener');
    await inLab(lab, `reap app; spawn sink p2 python3 -I -c '
import socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("", 9000))
while True: sock.recv(65536)'`); // prettier-ignore
    await until('it listens', () => inside('undrop-p2', 'ss -Hlun sport = :9000') !== '');
    await users();
    const { conclusion } = await passively();
    expect(conclusion.kind).toBe('no-loss');
    expect(conclusion.says).toMatch(
      /; [\d,]+ that came to the receiver drew no answer, and nothing there counts a loss/,
    );
  });

  test('datagrams that the sender’s kernel is to cut from one piece are counted one by one', async () => {
    await inLab(lab, `spawn other p1 python3 -I -c '
import socket, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.setsockopt(17, 103, 100)  # UDP_SEGMENT
sock.connect(("10.244.2.2", 9000))
for number in range(6000):
    sock.send(b"".join(b"%050d" % (5 * number + piece) * 2 for piece in range(5)))
    time.sleep(0.02)'`); // prettier-ignore
    const { conclusion, watched } = await passively('p1->p2', 2000);
    expect(conclusion.kind).toBe('no-loss');
    // Fifty sends a second, of five datagrams each.
    expect(watched.requests).toBeGreaterThan(250);
  });

  test('without any traffic nothing is concluded, and nothing is sent by anybody', async () => {
    for (const name of namespaces) inside(`undrop-${name}`, 'iptables -I OUTPUT -p udp');
    try {
      const { conclusion, probe } = await passively('p1->echo', 2000);
      expect(probe.sent).toBe(0);
      expect(conclusion.kind).toBe('inconclusive');
      expect(conclusion.says).toMatch(/^no datagram of p1->echo was seen in \d\.\d s at p1$/);
      expect(namespaces.map(sentBy)).toEqual([0, 0, 0, 0, 0]);
      // The count can fail: users' own are in it.
      await users();
      expect(sentBy('p1')).toBeGreaterThan(250);
    } finally {
      for (const name of namespaces) inside(`undrop-${name}`, 'iptables -D OUTPUT -p udp');
    }
  });

  test('a capture that lost some itself says so, and nothing can be told', async () => {
    const place: Place = { name: 'p1', role: 'sender', node: 'h1', netns: 'undrop-p1', address: '10.244.1.2', nodeAddress: '' }; // prettier-ignore
    const order = { key: '00', end: 'client', servers: [['10.96.0.10', 9000]] } as const;
    const capture = await Capture.open(new ProcessShell(), place, order, 60_000);
    const [pid = 0] = captures();
    process.kill(pid, 'SIGSTOP');
    await inLab(lab, `on p1 python3 -I -c '
import socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for number in range(60_000): sock.sendto(b"x" * 1200, ("10.96.0.10", 9000))'`); // prettier-ignore
    process.kill(pid, 'SIGCONT');
    await expect(capture.stop()).rejects.toThrow(/capturing at p1: the capture itself lost \d+ packets/);
    capture.close();
  });

  describe('as a run', () => {
    let road: Road;
    beforeAll(async () => {
      road = new Road();
      await road.open();
    }, 60_000);
    afterAll(() => road.close(), 30_000);

    test('it has one step, sends nothing, and its report says so', async () => {
      const session = await road.session(inventory);
      await users();
      await breaks('nft-drop');
      for (const name of namespaces.slice(1)) inside(`undrop-${name}`, 'iptables -I OUTPUT -p udp ! --dport 8472');
      try {
        const result = await diagnosed(session, 'p1->echo', 'alert', { passive: true, windowMs: 3000 });
        expect(result.roots).toEqual([{ cause: 'HOST-FIREWALL', place: 'h2' }]);
        expect(result.steps.map(({ step }) => step)).toEqual(['passive']);
        // p2 would answer, and nothing reaches it.
        expect(namespaces.slice(1).map(sentBy)).toEqual([0, 0, 0, 0]);
        const report = readFileSync(join(result.report, 'report.md'), 'utf8');
        expect(report).toContain("Nothing was sent: the target's own traffic was watched at both ends");
      } finally {
        for (const name of namespaces.slice(1)) inside(`undrop-${name}`, 'iptables -D OUTPUT -p udp ! --dport 8472');
      }
    });
  });
});
