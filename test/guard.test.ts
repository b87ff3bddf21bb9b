import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import type { Operation } from '../domain/operation.ts';
import * as guard from '../nodes/operations/guard.ts';
import { ProcessShell } from '../nodes/shells/process.ts';
import { root } from './support/imports.ts';
import { Namespaces, inside, line, real } from './support/machine.ts';
import { processesWith, until } from './support/until.ts';

const namespaces = new Namespaces();
const shell = new ProcessShell();
const home = '/run/undrop';
const key = 'net.ipv4.ipfrag_high_thresh';
const path = '/proc/sys/net/ipv4/ipfrag_high_thresh';
let netns = '';
let site: guard.Site;
let used: string[] = [];
let count = 0;

/** A change of its own name, which ends with its test. */
function change(token = 'run-1'): guard.Change {
  const id = `t-${process.pid}-${++count}`;
  used.push(id);
  return { id, token };
}
const value = (): number => Number(inside(netns, `cat ${path}`));
const set = (to: number): string => inside(netns, `sysctl -qw ${key}=${to}`);
const sysctl = (before: number, after: number): Operation => ({ kind: 'sysctl.set', key, before, after });
const features = (): string => inside(netns, 'ethtool -k eth0');
/** Processes and locks of this change, and the namespace's owner. */
const timers = (id: string): number[] => processesWith(`${home}/${id}`);
const ownerFile = (): string => `${home}/owner-${/\d+/.exec(inside(netns, 'readlink /proc/self/ns/net'))?.[0]}`;
const owner = (): boolean => existsSync(ownerFile());
const clean = (id: string): Promise<unknown> => until('no timer and no lock is left', () => timers(id).length === 0 && !owner()); // prettier-ignore

real(
  'ip',
  'ethtool',
  'flock',
  'sysctl',
)("the node's guard", () => {
  beforeAll(() => {
    netns = namespaces.add();
    line(`ip -n ${netns} link add eth0 type veth peer name eth1`);
    site = { shell, place: { name: 'p1', netns } };
  });
  afterEach(async () => {
    try {
      for (const id of used) await clean(id);
    } finally {
      for (const id of used.splice(0)) rmSync(`${home}/${id}`, { recursive: true, force: true });
      set(4_194_304);
    }
  });
  afterAll(() => {
    const inode = /\d+/.exec(inside(netns, 'readlink /proc/self/ns/net'))?.[0];
    namespaces.remove();
    rmSync(`${home}/lock-${inode}`, { force: true });
  });

  describe('a setting', () => {
    test('is changed, kept when confirmed, and rolled back when that is asked for later', async () => {
      const one = change();
      const seconds = 70_000 + (process.pid % 10_000);
      const sleeping = (): number => processesWith(`sleep\0${seconds}`).length;
      const deadline = await guard.arm(site, one, seconds, [sysctl(4_194_304, 8_388_608)]);
      expect(Math.abs(Date.parse(deadline) - Date.now() - seconds * 1000)).toBeLessThan(3_000);
      expect(value()).toBe(4_194_304);
      await until('its timer runs', () => timers(one.id).length > 0 && sleeping() === 1);
      expect(await guard.apply(site, one, 0)).toEqual({ again: false, value: '8388608' });
      await guard.confirm(site, one);
      await guard.confirm(site, one);
      expect(value()).toBe(8_388_608);
      await clean(one.id);
      expect(sleeping()).toBe(0);
      expect(await guard.status(site, one.id)).toMatchObject({ state: 'confirmed' });
      await expect(guard.revert(site, one)).rejects.toThrow(/p1: the change is confirmed/);
      expect(await guard.revert(site, one, true)).toEqual({ state: 'reverted', proof: ['restored 0 4194304'] });
      expect(value()).toBe(4_194_304);
    });

    test('is rolled back however long ago it was confirmed; what was put back is forgotten after a week', async () => {
      const [kept, over, next] = [change(), change(), change()];
      await guard.arm(site, over, 60, [sysctl(4_194_304, 8_388_608)]);
      await guard.apply(site, over, 0);
      await guard.revert(site, over);
      await guard.arm(site, kept, 60, [sysctl(4_194_304, 8_388_608)]);
      await guard.apply(site, kept, 0);
      await guard.confirm(site, kept);
      const longAgo = new Date(Date.now() - 30 * 86_400_000);
      for (const { id } of [kept, over]) utimesSync(`${home}/${id}`, longAgo, longAgo);
      await guard.arm(site, next, 60, [sysctl(8_388_608, 9_000_000)]);
      await guard.revert(site, next);
      expect(await guard.revert(site, over, true)).toEqual({ state: 'none', proof: [] });
      expect(await guard.revert(site, kept, true)).toEqual({ state: 'reverted', proof: ['restored 0 4194304'] });
      expect(value()).toBe(4_194_304);
    });

    test('is put back, once, with the proof', async () => {
      const one = change();
      await guard.arm(site, one, 60, [sysctl(4_194_304, 8_388_608)]);
      await guard.apply(site, one, 0);
      expect(await guard.revert(site, one)).toEqual({ state: 'reverted', proof: ['restored 0 4194304'] });
      set(5_000_000);
      expect(await guard.revert(site, one)).toEqual({ state: 'reverted', proof: ['restored 0 4194304'] });
      expect(value()).toBe(5_000_000); // nobody's business any more
      const { journal } = await guard.status(site, one.id);
      expect(journal.map((entry) => entry.split(' ').slice(1).join(' '))).toEqual(['armed', `apply 0 sysctl ${key}`, 'reverted']); // prettier-ignore
    });

    test('is applied once, however often that is asked for', async () => {
      const one = change();
      await guard.arm(site, one, 60, [sysctl(4_194_304, 8_388_608)]);
      expect(await guard.apply(site, one, 0)).toMatchObject({ again: false });
      set(6_000_000);
      expect(await guard.apply(site, one, 0)).toEqual({ again: true, value: '6000000' });
      expect(value()).toBe(6_000_000);
      set(8_388_608);
      await guard.revert(site, one);
    });

    test('and once when ten attempts come at the same time', async () => {
      const one = change();
      await guard.arm(site, one, 60, [sysctl(4_194_304, 8_388_608)]);
      const all = await Promise.all(Array.from({ length: 10 }, () => guard.apply(site, one, 0)));
      expect(all.filter(({ again }) => !again)).toHaveLength(1);
      await guard.revert(site, one);
    });

    test('that was armed but never applied is untouched by the revert', async () => {
      const one = change();
      await guard.arm(site, one, 60, [sysctl(4_194_304, 8_388_608)]);
      set(5_000_000);
      expect(await guard.revert(site, one)).toEqual({ state: 'reverted', proof: ['untouched 0'] });
      expect(value()).toBe(5_000_000);
    });

    test('that somebody else changed since is left alone', async () => {
      const one = change();
      await guard.arm(site, one, 60, [sysctl(4_194_304, 8_388_608)]);
      await guard.apply(site, one, 0);
      set(5_000_000);
      expect(await guard.revert(site, one)).toEqual({ state: 'conflict', proof: ['conflict 0 5000000'] });
      expect(value()).toBe(5_000_000);
    });

    test('that is already back as it was is equal, whoever did it', async () => {
      const one = change();
      await guard.arm(site, one, 60, [sysctl(4_194_304, 8_388_608)]);
      await guard.apply(site, one, 0);
      set(4_194_304);
      expect(await guard.revert(site, one)).toEqual({ state: 'reverted', proof: ['equal 0 4194304'] });
    });

    test('that the kernel does not take is refused, and nothing is left of it', async () => {
      const one = change();
      await guard.arm(site, one, 60, [sysctl(4_194_304, 1)]); // below ipfrag_low_thresh
      await expect(guard.apply(site, one, 0)).rejects.toThrow(/p1: sysctl .* was set to 1 and reads 4194304/);
      expect(await guard.revert(site, one)).toMatchObject({ state: 'reverted' });
      expect(value()).toBe(4_194_304);
    });
  });

  describe('after an attempt that died between setting and writing that down', () => {
    /** What such an attempt leaves: its intent in the journal, and the value as far as it came. */
    async function halfway(one: guard.Change, reached: number): Promise<void> {
      await guard.arm(site, one, 60, [sysctl(4_194_304, 8_388_608)]);
      writeFileSync(`${home}/${one.id}/doing.0`, '');
      set(reached);
    }

    test.each([8_388_608, 4_194_304])(
      'that came to %i the next one carries on, and the revert finds its way back',
      async (reached) => {
        const one = change();
        await halfway(one, reached);
        expect(await guard.apply(site, one, 0)).toEqual({ again: false, value: '8388608' });
        expect(await guard.revert(site, one)).toMatchObject({ state: 'reverted' });
        expect(value()).toBe(4_194_304);
      },
    );

    test('the revert finds its way back without a next one, too', async () => {
      const one = change();
      await halfway(one, 8_388_608);
      expect(await guard.revert(site, one)).toEqual({ state: 'reverted', proof: ['restored 0 4194304'] });
    });
  });

  describe('refuses', () => {
    test('drift before arming, and names the difference', async () => {
      const one = change();
      set(5_000_000);
      await expect(guard.arm(site, one, 60, [sysctl(4_194_304, 8_388_608)])).rejects.toThrow(
        new guard.Refused(`p1: drift: sysctl ${key} is 5000000, the plan says 4194304`),
      );
      expect(existsSync(`${home}/${one.id}`)).toBe(false);
    });

    test('drift between arming and applying', async () => {
      const one = change();
      await guard.arm(site, one, 60, [sysctl(4_194_304, 8_388_608)]);
      set(5_000_000);
      await expect(guard.apply(site, one, 0)).rejects.toThrow(/drift: sysctl .* is 5000000, the plan says 4194304/);
      expect(value()).toBe(5_000_000);
      expect(await guard.revert(site, one)).toMatchObject({ proof: ['untouched 0'] });
    });

    test('every other run than the one that armed', async () => {
      const one = change();
      const other = { ...one, token: 'run-2' };
      await guard.arm(site, one, 60, [sysctl(4_194_304, 8_388_608)]);
      for (const attempt of [
        () => guard.arm(site, other, 60, [sysctl(4_194_304, 8_388_608)]),
        () => guard.apply(site, other, 0),
        () => guard.confirm(site, other),
        () => guard.revert(site, other),
        () => guard.revert(site, other, true),
      ])
        await expect(attempt()).rejects.toThrow(new guard.Refused('p1: this change is held by another run'));
      expect(value()).toBe(4_194_304);
      expect(await guard.arm(site, one, 60, [])).toMatch(/Z$/);
      await guard.revert(site, one);
    });

    test('a second change while the first is not finished, and names the first', async () => {
      const [one, two] = [change(), change()];
      const deadline = await guard.arm(site, one, 60, [sysctl(4_194_304, 8_388_608)]);
      await expect(guard.arm(site, two, 60, [sysctl(4_194_304, 6_000_000)])).rejects.toThrow(
        new guard.Refused(`p1: the change ${one.id} is not finished on this node; it reverts by itself at ${deadline}`),
      );
      expect(existsSync(`${home}/${two.id}`)).toBe(false);
      await guard.revert(site, one);
      await guard.arm(site, two, 60, [sysctl(4_194_304, 6_000_000)]);
      await guard.revert(site, two);
    });

    test('the timer of a node that is busy waits, and then reverts', async () => {
      const one = change();
      await guard.arm(site, one, 1, [sysctl(4_194_304, 8_388_608)]);
      await guard.apply(site, one, 0);
      const inode = /\d+/.exec(inside(netns, 'readlink /proc/self/ns/net'))?.[0];
      const busy = spawn('flock', [`${home}/lock-${inode}`, 'sleep', '8']);
      await once(busy, 'exit');
      await until('it is put back', () => value() === 4_194_304, 5_000);
      expect((await guard.status(site, one.id)).state).toBe('reverted');
    }, 30_000);

    test('a change whose timer was killed is put back by the next one after its time', async () => {
      const one = change();
      await guard.arm(site, one, 1, [sysctl(4_194_304, 8_388_608)]);
      await guard.apply(site, one, 0);
      for (const pid of timers(one.id)) process.kill(pid, 'SIGKILL');
      const next = change();
      await until('its time is over', async () =>
        guard.arm(site, next, 60, [sysctl(4_194_304, 6_000_000)]).then(() => true, () => false)); // prettier-ignore
      expect(value()).toBe(4_194_304);
      expect((await guard.status(site, one.id)).state).toBe('reverted');
      await guard.revert(site, next);
    });

    test('nothing for the sake of a change that was killed just before it let go, or is gone with its journal', async () => {
      const one = change();
      await guard.arm(site, one, 60, [sysctl(4_194_304, 8_388_608)]);
      await guard.revert(site, one);
      for (const holder of [one.id, 'gone']) {
        const next = change();
        writeFileSync(ownerFile(), `${holder}\n`);
        await guard.arm(site, next, 60, [sysctl(4_194_304, 6_000_000)]);
        await guard.revert(site, next);
      }
    });

    test('what was never armed, what is over, and what it does not know', async () => {
      const one = change();
      await expect(guard.apply(site, one, 0)).rejects.toThrow(/p1: the change is none, not armed/);
      await expect(guard.confirm(site, one)).rejects.toThrow(/p1: the change is none/);
      expect(await guard.revert(site, one)).toEqual({ state: 'none', proof: [] });
      await guard.arm(site, one, 60, [sysctl(4_194_304, 8_388_608)]);
      await expect(guard.apply(site, one, 7)).rejects.toThrow(/there is no operation 7/);
      await guard.revert(site, one);
      await expect(guard.apply(site, one, 0)).rejects.toThrow(/the change is reverted, not armed/);
      await expect(guard.arm(site, one, 60, [sysctl(4_194_304, 8_388_608)])).rejects.toThrow(/already reverted/);
    });

    test('a setting that is not there', async () => {
      const one = change();
      const lost: Operation = { kind: 'sysctl.set', key: 'net.ipv4.no_such_setting', before: 1, after: 2 };
      await expect(guard.arm(site, one, 60, [lost])).rejects.toThrow(/cannot be read on this node/);
      expect(await guard.readSettings(site, [lost, sysctl(1, 2)])).toEqual(['unreadable', '4194304']);
    });

    test('all of it when one of several operations has drifted', async () => {
      const one = change();
      const time: Operation = { kind: 'sysctl.set', key: 'net.ipv4.ipfrag_time', before: 29, after: 10 };
      await expect(guard.arm(site, one, 60, [sysctl(4_194_304, 8_388_608), time])).rejects.toThrow(/ipfrag_time is 30/);
    });
  });

  describe("the node's own timer", () => {
    test('reverts what nobody confirms, though nobody is connected', async () => {
      const one = change();
      const script = `
        import * as guard from '${root}nodes/operations/guard.ts';
        import { ProcessShell } from '${root}nodes/shells/process.ts';
        const site = { shell: new ProcessShell(), place: { name: 'p1', netns: '${netns}' } };
        await guard.arm(site, ${JSON.stringify(one)}, 2, [${JSON.stringify(sysctl(4_194_304, 8_388_608))}]);
        await guard.apply(site, ${JSON.stringify(one)}, 0);
        console.log('applied');
        setInterval(() => {}, 1000);`;
      const worker = spawn(process.execPath, ['--input-type=module', '-e', script], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      await once(worker.stdout, 'data');
      worker.kill('SIGKILL');
      expect(value()).toBe(8_388_608);
      await until('the node has reverted', () => value() === 4_194_304, 6_000);
      await clean(one.id);
      const { state, journal } = await guard.status(site, one.id);
      expect(state).toBe('reverted');
      expect(journal.at(-2)).toMatch(/the timer reverts: nobody confirmed in time/);
      await expect(guard.confirm(site, one)).rejects.toThrow(/the change is reverted/);
    });

    test('leaves a confirmed change alone, and one that somebody else changed', async () => {
      const [one, two] = [change(), change()];
      await guard.arm(site, one, 1, [sysctl(4_194_304, 8_388_608)]);
      await guard.apply(site, one, 0);
      await guard.confirm(site, one);
      await guard.arm(site, two, 1, [sysctl(8_388_608, 6_000_000)]);
      await guard.apply(site, two, 0);
      set(5_000_000);
      await until('the second is over', async () => (await guard.status(site, two.id)).state === 'conflict');
      expect(value()).toBe(5_000_000);
      expect((await guard.status(site, one.id)).state).toBe('confirmed');
    });
  });

  describe('the features of a device', () => {
    const read = async (): Promise<Record<string, boolean>> =>
      guard.featuresOf((await guard.readSettings(site, [{ kind: 'offload.set', device: 'eth0', before: {}, after: {} }]))[0] ?? ''); // prettier-ignore

    test('are all as before after a revert, also those that changed along', async () => {
      const [one, text, before] = [change(), features(), await read()];
      expect(before).toMatchObject({ 'tx-checksum-ip-generic': true, 'tx-udp-segmentation': true });
      await guard.arm(site, one, 60, [{ kind: 'offload.set', device: 'eth0', before, after: { 'tx-checksum-ip-generic': false } }]); // prettier-ignore
      await guard.apply(site, one, 0);
      expect(await read()).toMatchObject({ 'tx-checksum-ip-generic': false });
      expect(features()).not.toBe(text);
      expect(await guard.apply(site, one, 0)).toMatchObject({ again: true });
      expect(await guard.revert(site, one)).toMatchObject({ state: 'reverted', proof: [expect.stringMatching(/^restored 0/)] }); // prettier-ignore
      expect(features()).toBe(text);
    });

    test('that were partly off before are partly off afterwards', async () => {
      inside(netns, 'ethtool -K eth0 tx-udp-segmentation off rx off gro on');
      const [one, text, before] = [change(), features(), await read()];
      await guard.arm(site, one, 60, [{ kind: 'offload.set', device: 'eth0', before, after: { 'tx-checksum-ip-generic': false } }]); // prettier-ignore
      await guard.apply(site, one, 0);
      await guard.revert(site, one);
      expect(features()).toBe(text);
    });

    test('of a device that is not there cannot be changed', async () => {
      const one = change();
      await expect(guard.arm(site, one, 60, [{ kind: 'offload.set', device: 'eth9', before: { rx: true }, after: { rx: false } }])).rejects.toThrow(/offload eth9 cannot be read/); // prettier-ignore
    });
  });

  real(
    'conntrack',
    'iptables',
    'python3',
  )('entries of conntrack', () => {
    const listed = (): string[] => inside(netns, 'conntrack -L -p udp').split('\n').filter((one) => one.startsWith('udp')); // prettier-ignore
    const entry = (sourcePort: number, replySource = '10.9.2.9'): Operation => ({ kind: 'conntrack.delete', source: '10.9.2.1', sourcePort, destination: '10.9.2.9', destinationPort: 53, replySource }); // prettier-ignore

    beforeAll(() => {
      inside(netns, 'ip addr add 10.9.2.1/24 dev eth0');
      for (const device of ['eth0', 'eth1']) inside(netns, `ip link set ${device} up`);
      inside(netns, 'iptables -A OUTPUT -m conntrack --ctstate INVALID -j DROP');
      execFileSync('nsenter', [`--net=/run/netns/${netns}`, 'python3', '-c', "import socket\nfor port in (5001, 5002, 5003):\n s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('10.9.2.1', port)); s.sendto(b'x', ('10.9.2.9', 53)); s.sendto(b'x', ('10.9.2.8', 53))"]); // prettier-ignore
    });

    test('are deleted by their whole tuple; all others stay', async () => {
      expect(listed()).toHaveLength(6);
      const one = change();
      await guard.arm(site, one, 60, [entry(5001), entry(5002)]);
      expect(await guard.apply(site, one, 0)).toEqual({ again: false, value: 'absent' });
      expect(await guard.apply(site, one, 0)).toEqual({ again: true, value: 'absent' });
      expect(listed()).toHaveLength(5);
      expect(listed().some((text) => /sport=5001 .*dst=10\.9\.2\.9|dst=10\.9\.2\.9 sport=5001/.test(text))).toBe(false);
      expect(listed().some((text) => text.includes('dst=10.9.2.8 sport=5001'))).toBe(true);
      expect(await guard.revert(site, one)).toEqual({ state: 'reverted', proof: ['untouched 1', expect.stringMatching(/^irreversible 0 10\.9\.2\.1,5001/)] }); // prettier-ignore
      expect(listed()).toHaveLength(5);
    });

    test('that lead elsewhere by now are other entries, and are left alone', async () => {
      const one = change();
      await expect(guard.arm(site, one, 60, [entry(5003, '10.9.2.77')])).rejects.toThrow(/drift: conntrack .* is absent, the plan says present/); // prettier-ignore
      expect(listed().some((text) => text.includes('dst=10.9.2.9 sport=5003'))).toBe(true);
    });

    test('that are many go in one round trip, and an attempt that comes again finds them gone', async () => {
      const one = change();
      await guard.arm(site, one, 60, [entry(5002), entry(5003)]);
      expect(await guard.apply(site, one, 0, 1)).toEqual({ again: false, value: 'absent' });
      expect(await guard.apply(site, one, 0, 1)).toEqual({ again: true, value: 'absent' });
      expect(listed().filter((text) => /dst=10\.9\.2\.9 sport=500[23]/.test(text))).toEqual([]);
      await guard.revert(site, one);
    });
  });

  test('words that a shell would read are only words', async () => {
    const evil = `/tmp/undrop-t-evil-${process.pid}`;
    const one = change(`$(touch ${evil}); touch ${evil} \`touch ${evil}\``);
    await guard.arm(site, one, 60, [sysctl(4_194_304, 8_388_608)]);
    expect(await guard.revert(site, one)).toMatchObject({ state: 'reverted' });
    expect(existsSync(evil)).toBe(false);
  });

  test('leaves nothing but its journals behind', () => {
    expect(readdirSync(home).filter((name) => name.startsWith(`t-${process.pid}`))).toEqual([]);
  });
});
