import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { randomInt } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { type Server, createServer } from 'node:net';
import { join } from 'node:path';
import type { SshSpec } from '../domain/inventory.ts';
import { auditScript } from '../nodes/sampling/audit.ts';
import { type Command, type Outcome, run } from '../nodes/shells/shell.ts';
import { SshShell } from '../nodes/shells/ssh.ts';
import { real, sh } from './support/machine.ts';
import { Sshd } from './support/sshd.ts';
import { freePort } from './support/port.ts';
import { processesWith, until } from './support/until.ts';

let sshd: Sshd;
let shells: SshShell[] = [];
beforeAll(async () => {
  sshd = await Sshd.start();
});
afterAll(() => sshd?.stop());
beforeEach(() => until('no connection is left', () => sshd.connections().length === 0));
afterEach(() => {
  for (const one of shells) one.close();
  shells = [];
});

const shellOf = (change: Partial<SshSpec> = {}): SshShell => {
  const shell = new SshShell({ ...sshd.spec, ...change });
  shells.push(shell);
  return shell;
};
const ran = (shell: SshShell, argv: string[], more: Partial<Command> = {}): Promise<Outcome> =>
  run(shell, { argv, deadlineMs: 10_000, ...more });
const longTime = (): string => `300.${randomInt(1e9, 1e10)}`;

/** A known_hosts file of these lines. */
function knownHosts(name: string, ...lines: string[]): string {
  const path = join(sshd.folder, name);
  writeFileSync(path, lines.map((one) => `${one}\n`).join(''));
  return path;
}
const publicKey = (name: string): string => readFileSync(join(sshd.folder, `${name}.pub`), 'utf8').trim();

real('sshd')('over ssh', () => {
  describe('who is on the other side', () => {
    const accepted = (): number => sshd.log().match(/Accepted publickey/g)?.length ?? 0;
    const evil = (): string => join(sshd.folder, 'evil');

    test('a host that shows another key than the known one gets nothing, not even our name', async () => {
      const before = accepted();
      const file = knownHosts('wrong', `[127.0.0.1]:${sshd.spec.port} ${publicKey('stranger')}`);
      const outcome = await ran(shellOf({ knownHosts: file }), ['touch', evil()]);
      expect(outcome).toEqual({
        kind: 'failed',
        why: expect.stringMatching(/shows another key than .*wrong has; nothing was sent/),
      });
      expect(accepted()).toBe(before);
      expect(sshd.log().split('\n').at(-2)).not.toContain(sshd.spec.user);
      expect(existsSync(evil())).toBe(false);
    });

    test('a revoked key is another key', async () => {
      const key = publicKey('host');
      const file = knownHosts('revoked', `[127.0.0.1]:${sshd.spec.port} ${key}`, `@revoked * ${key}`);
      expect(await ran(shellOf({ knownHosts: file }), ['touch', evil()])).toMatchObject({ kind: 'failed' });
      expect(existsSync(evil())).toBe(false);
    });

    test.each([
      ['of which the file has no key', () => knownHosts('empty')],
      ['of which it has one for another port', () => knownHosts('port', `127.0.0.1 ${publicKey('host')}`)],
      ['with no such file', () => join(sshd.folder, 'none')],
    ])('a host %s is not even connected to', async (_, file) => {
      const before = sshd.log();
      const outcome = await ran(shellOf({ knownHosts: file() }), ['true']);
      expect(outcome).toEqual({ kind: 'failed', why: expect.stringMatching(/no key of this host in .*log in once/) });
      expect(sshd.log()).toBe(before);
    });

    test('a key of ours that the node does not take is named as that', async () => {
      const outcome = await ran(shellOf({ identity: join(sshd.folder, 'stranger') }), ['true']);
      expect(outcome).toMatchObject({ kind: 'failed', why: expect.stringMatching(/authentication methods failed/) });
    });

    test('a key of ours that is not there is named with its path', async () => {
      const outcome = await ran(shellOf({ identity: join(sshd.folder, 'nowhere') }), ['true']);
      expect(outcome).toMatchObject({ kind: 'failed', why: expect.stringContaining('nowhere') });
    });
  });

  describe('a node that cannot be reached', () => {
    let silent: Server;
    let known = '';
    let port = 0;
    beforeAll(async () => {
      silent = createServer(() => {});
      port = await freePort();
      await new Promise<void>((resolve) => silent.listen(port, '127.0.0.1', resolve));
      known = knownHosts('silent', `[127.0.0.1]:${port} ${publicKey('host')}`);
    });
    afterAll(() => {
      silent.close();
    });

    test('is named at once when its port is closed', async () => {
      const closed = await freePort();
      const file = knownHosts('closed', `[127.0.0.1]:${closed} ${publicKey('host')}`);
      const start = Date.now();
      const outcome = await ran(shellOf({ port: closed, knownHosts: file }), ['true']);
      expect(outcome).toMatchObject({
        kind: 'failed',
        why: expect.stringMatching(new RegExp(`127.0.0.1:${closed}: .*ECONNREFUSED`)),
      });
      expect(Date.now() - start).toBeLessThan(1_000);
    });

    test('is given up at the deadline when it says nothing', async () => {
      const start = Date.now();
      const outcome = await ran(shellOf({ port, knownHosts: known }), ['true'], { deadlineMs: 500 });
      expect(outcome).toMatchObject({ kind: 'failed', why: expect.stringMatching(/no connection within 500 ms/) });
      expect(Date.now() - start).toBeLessThan(2_500);
    });

    test('is given up when we are cancelled', async () => {
      const outcome = await ran(shellOf({ port, knownHosts: known }), ['true'], { signal: AbortSignal.timeout(100) });
      expect(outcome).toMatchObject({ kind: 'failed', why: expect.stringMatching(/cancelled/) });
    });
  });

  describe('the connection', () => {
    test('is one for all commands, one after another and at once', async () => {
      const shell = shellOf();
      await ran(shell, ['true']);
      const [first, ...others] = sshd.connections();
      expect(others).toEqual([]);
      await Promise.all(Array.from({ length: 6 }, () => ran(shell, ['sleep', '0.1'])));
      expect(sshd.connections()).toEqual([first]);
      expect(sshd.log().match(/Accepted publickey/g)?.length).toBeGreaterThan(0);
    });

    test('is made once even when the first commands come together', async () => {
      const shell = shellOf();
      await Promise.all(Array.from({ length: 6 }, () => ran(shell, ['true'])));
      expect(sshd.connections()).toHaveLength(1);
    });

    test('killed in the middle: the outcome is unknown, the node ends the command itself, the next one connects anew', async () => {
      const shell = shellOf();
      const time = longTime();
      let heard = '';
      const argv = ['sh', '-c', `echo begun; sleep ${time}`];
      const running = await shell.start({ argv, deadlineMs: 2_000 }, (text) => (heard += text));
      await until('it runs', () => heard === 'begun\n');
      const [first = 0] = sshd.connections();
      process.kill(first, 'SIGKILL');
      expect(await running.done).toEqual({
        kind: 'unknown',
        why: expect.stringMatching(/connection was lost/),
        stdout: 'begun\n',
      });
      expect(await ran(shell, ['echo', 'again'])).toMatchObject({ kind: 'exited', stdout: 'again\n' });
      expect(sshd.connections()).toHaveLength(1);
      expect(sshd.connections()).not.toEqual([first]);
      await until('no process is left', () => processesWith(time).length === 0);
    });

    test('that hangs makes the outcome unknown, never failed: the command may run as soon as the node wakes up', async () => {
      const shell = shellOf();
      await ran(shell, ['true']);
      const [session = 0] = sshd.connections();
      process.kill(session, 'SIGSTOP');
      try {
        const start = Date.now();
        const outcome = await ran(shell, ['touch', join(sshd.folder, 'late')], { deadlineMs: 500 });
        expect(outcome).toMatchObject({ kind: 'unknown', why: expect.stringMatching(/opens no session/) });
        expect(Date.now() - start).toBeLessThan(2_500);
      } finally {
        process.kill(session, 'SIGCONT');
      }
      expect(await ran(shell, ['echo', 'awake'])).toMatchObject({ stdout: 'awake\n' });
    });

    test('refuses more sessions than the node allows, and only those that did not run are failed', async () => {
      const shell = shellOf();
      const all = await Promise.all(
        Array.from({ length: 13 }, (_, index) =>
          ran(shell, ['sh', '-c', `touch ${sshd.folder}/ran-${index}; sleep 1`]),
        ),
      );
      all.forEach((outcome, index) => {
        if (outcome.kind === 'failed') expect(outcome.why).toMatch(/open failed/);
        expect([index, outcome.kind]).toEqual([
          index,
          existsSync(join(sshd.folder, `ran-${index}`)) ? 'exited' : 'failed',
        ]);
      });
      expect(all.filter(({ kind }) => kind === 'exited')).toHaveLength(10);
    });

    test('gives back what a command says on stderr and not what ours said before it', async () => {
      const outcome = await ran(shellOf(), ['sh', '-c', 'echo "one 5" >&2; echo two >&2']);
      expect(outcome).toMatchObject({ kind: 'exited', stderr: 'one 5\ntwo\n' });
    });

    test('closing it before it was used, or twice, is fine', () => {
      const shell = shellOf();
      shell.close();
      shell.close();
    });
  });

  describe('a brief script stays on the node for the next reading', () => {
    const read = (
      shell: SshShell,
      script: string,
      words: string[] = [],
      more: Partial<Command> = {},
    ): Promise<Outcome> => ran(shell, ['sh', '-c', script, 'sh', ...words], { brief: true, ...more });
    const said = async (outcome: Promise<Outcome>): Promise<string> => {
      const got = await outcome;
      if (got.kind !== 'exited') throw new Error(got.why);
      return got.stdout;
    };

    test('one process for all readings, each with its own words, status and both streams', async () => {
      const shell = shellOf();
      const script = 'echo "$$ $1"; echo "oops $1" >&2; (exit 3)';
      const first = await read(shell, script, ['a-1']);
      expect(first).toMatchObject({ kind: 'exited', code: 3, stderr: 'oops a-1\n' });
      const [pid] = (await said(Promise.resolve(first))).split(' ');
      const second = await read(shell, script, ['a.2', 'more']);
      expect(second).toMatchObject({ stdout: `${pid} a.2\n`, stderr: 'oops a.2\n' });
      expect(await said(read(shell, 'echo $$'))).not.toContain(pid);
      // At the same time the second has a session of its own.
      const pids = await Promise.all([1, 2].map(() => said(read(shell, 'echo $$; sleep 0.1'))));
      expect(new Set(pids).size).toBe(2);
    });

    test('one that leaves its shell says with which status, and the next reading begins anew', async () => {
      const shell = shellOf();
      expect(await read(shell, 'echo bye; echo why >&2; exit 5')).toEqual({ kind: 'exited', code: 5, stdout: 'bye\n', stderr: 'why\n' }); // prettier-ignore
      expect(await said(read(shell, 'echo "$1"', ['back']))).toBe('back\n');
    });

    test('text that login shells read in their own ways arrives as it is', async () => {
      const script = `printf '%s\\n' "it's"' 100% \\\\ !x \\0047'; echo "$1"`;
      const local = sh('sh', '-c', script, 'sh', 'w');
      expect(local).toContain("it's 100%");
      expect(await said(read(shellOf(), script, ['w']))).toBe(local);
    });

    test('words that a shell would read are left to a command of its own', async () => {
      const shell = shellOf();
      await read(shell, 'echo $$ "$1"', ['x']);
      expect(await said(read(shell, 'echo $$ "$1"', ['$(id)']))).toMatch(/\$\(id\)\n$/);
    });

    test('one that does not end is ended with all it started, and so is one that is cancelled or talks too much', async () => {
      const shell = shellOf();
      const time = longTime();
      expect(await read(shell, `echo begun; sleep ${time}`, [], { deadlineMs: 1_500 })).toEqual({
        kind: 'unknown', why: 'no end after 1500 ms', stdout: 'begun\n',
      }); // prettier-ignore
      await until('it is gone', () => processesWith(time).length === 0);
      const late = longTime();
      const cancelled = read(shell, `sleep ${late}`, [], { signal: AbortSignal.timeout(600) });
      expect(await cancelled).toMatchObject({ kind: 'unknown', why: 'it was cancelled' });
      await until('it is gone', () => processesWith(late).length === 0);
      const loud = await read(shell, `yes ${late}`, [], { maxBytes: 10_000 });
      expect(loud).toMatchObject({ kind: 'unknown', why: 'it printed more than 10000 bytes' });
      await until('it is gone', () => processesWith(late).length === 0);
      expect(await said(read(shell, 'echo well'))).toBe('well\n');
    });

    test('it ends with the connection, and a reading in progress is unknown', async () => {
      const cut = (): void => sshd.connections().forEach((pid) => process.kill(pid, 'SIGKILL'));
      const waiting = longTime();
      await read(shellOf(), `echo ready # ${waiting}`);
      expect(processesWith(waiting).length).toBeGreaterThan(0);
      cut();
      await until('it is gone', () => processesWith(waiting).length === 0);

      // Longer than it takes to cut it, and short: nothing on the node ends a reading that nobody hears any more.
      const time = `3.${randomInt(1e9, 1e10)}`;
      const reading = read(shellOf(), `sleep ${time}`);
      await until('it runs', () => processesWith(time).length > 1);
      cut();
      expect(await reading).toMatchObject({ kind: 'unknown', why: expect.stringMatching(/connection was lost/) });
      await until('it is gone', () => processesWith(time).length === 0);
    });

    test('closing leaves nothing on the node, whether it waits or runs', async () => {
      const waiting = longTime();
      const shell = shellOf();
      await read(shell, `echo ready # ${waiting}`);
      shell.close();
      await until('it is gone', () => processesWith(waiting).length === 0 && sshd.connections().length === 0);

      const time = longTime();
      const busy = shellOf();
      const reading = read(busy, `sleep ${time}`);
      await until('it runs', () => processesWith(time).length > 1);
      busy.close();
      expect(await reading).toMatchObject({ kind: 'unknown' });
      await until('it is gone', () => processesWith(time).length === 0 && sshd.connections().length === 0);
    });

    test('the script of audits leaves its shell as it was: it runs there thousands of times', async () => {
      const shell = shellOf();
      const script = `${auditScript}\necho "$PATH $IFS $-" >&2`;
      const [first, second] = [await read(shell, script, ['n1']), await read(shell, script, ['n2'])];
      expect(second).toMatchObject({ kind: 'exited', stdout: expect.stringContaining('#n2 done') });
      expect('stderr' in second && second.stderr).toBe('stderr' in first && first.stderr);
    });

    test('its session is given up where the node allows no other', async () => {
      const shell = shellOf();
      const held = longTime();
      await read(shell, 'echo waits');
      const others = Array.from({ length: 9 }, () => ran(shell, ['sleep', held], { deadlineMs: 4_000 }));
      await until('all sessions but one are taken', () => processesWith(held).length >= 9);
      expect(await ran(shell, ['echo', 'in'])).toEqual({ kind: 'exited', code: 0, stdout: 'in\n', stderr: '' });
      await Promise.all(others);
    });
  });
});
