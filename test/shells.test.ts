import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { randomInt } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ProcessShell } from '../nodes/shells/process.ts';
import { type Command, type Outcome, type Shell, defaultMaxBytes, run } from '../nodes/shells/shell.ts';
import { SshShell } from '../nodes/shells/ssh.ts';
import { Namespaces, real, sh } from './support/machine.ts';
import { Sshd } from './support/sshd.ts';
import { processesWith, until } from './support/until.ts';

const namespaces = new Namespaces();
const folder = mkdtempSync(join(tmpdir(), 'undrop-t-'));
let sshd: Sshd;

beforeAll(async () => {
  sshd = await Sshd.start();
  namespaces.add();
});
afterAll(async () => {
  namespaces.remove();
  await sshd?.stop();
  rmSync(folder, { recursive: true });
});

/** A time to sleep that no other process of this machine has on its command line. */
const longTime = (): string => `300.${randomInt(1e9, 1e10)}`;

/** Every shell keeps this contract, so that nothing above has to know which one it has. */
function contract(make: () => Shell): void {
  let shell: Shell;
  beforeAll(() => {
    shell = make();
  });
  afterAll(() => shell.close());
  const ran = (argv: string[], more: Partial<Command> = {}, stdin = ''): Promise<Outcome> =>
    run(shell, { argv, deadlineMs: 10_000, ...more }, stdin);
  const shLine = (text: string, more?: Partial<Command>): Promise<Outcome> => ran(['sh', '-c', text], more);

  test('words arrive as they are, whatever they look like to a shell', async () => {
    const evil = join(folder, 'evil');
    const words = [
      '', ' ', "'", '"', `'"'"'`, "\\'", '\\', '\\n', '$HOME', `$(touch ${evil})`, `\`touch ${evil}\``, `; touch ${evil}`,
      `' ; touch ${evil} ; '`, `\n touch ${evil}\n`, '&& false', '|| true', `> ${evil}`, '*', '~', '{a,b}', '!!', '#', '-n',
      '--', '%s', 'a\tb', 'line\n', 'ä 😀', '\u0001',
    ]; // prettier-ignore
    const outcome = await ran(['sh', '-c', `for word; do printf '%s\\0' "$word"; done`, 'sh', ...words]);
    expect(outcome).toMatchObject({ kind: 'exited', code: 0, stderr: '' });
    if (outcome.kind === 'exited') expect(outcome.stdout.split('\0').slice(0, -1)).toEqual(words);
    expect(existsSync(evil)).toBe(false);
  });

  test('stdin arrives whole and ends', async () => {
    const text = 'datagram ä\n'.repeat(40_000);
    expect(await ran(['cat'], {}, text)).toEqual({ kind: 'exited', code: 0, stdout: text, stderr: '' });
    expect(await ran(['cat'])).toMatchObject({ kind: 'exited', stdout: '' });
  });

  test('a command that does not read its stdin still ends as itself', async () => {
    expect(await ran(['true'], {}, 'x'.repeat(500_000))).toMatchObject({ kind: 'exited', code: 0 });
  });

  test('output, errors and status come back', async () => {
    const outcome = await shLine('echo out; echo err >&2; exit 7');
    expect(outcome).toEqual({ kind: 'exited', code: 7, stdout: 'out\n', stderr: 'err\n' });
  });

  test('a command that a signal ended has not succeeded', async () => {
    const outcome = await shLine('kill -9 $$');
    expect(outcome.kind === 'exited' && outcome.code === 0).toBe(false);
  });

  test('a missing program did certainly not run', async () => {
    const outcome = await ran(['undrop-no-such-program', 'x']);
    expect(outcome).toEqual({ kind: 'failed', why: expect.stringContaining('undrop-no-such-program') });
  });

  test('a program that is missing halfway is no command that did not run', async () => {
    const file = join(folder, longTime());
    const outcome = await shLine(`touch ${file}; undrop-no-such-program`);
    expect(existsSync(file)).toBe(true);
    expect(outcome).toMatchObject({ kind: 'exited', code: 127 });
  });

  test('after the deadline the outcome is unknown, and no process is left, children of children included', async () => {
    const time = longTime();
    const start = Date.now();
    const ending = shLine(`echo begun; (sleep ${time} & sleep ${time}) & sleep ${time}`, { deadlineMs: 1_000 });
    await until('it runs', () => processesWith(time).length >= 4);
    expect(await ending).toEqual({ kind: 'unknown', why: expect.stringMatching(/1000 ms/), stdout: 'begun\n' });
    expect(Date.now() - start).toBeLessThan(3_000);
    await until('no process is left', () => processesWith(time).length === 0, 3_000);
  });

  test('a child left behind holds nothing up beyond the deadline, and ends with it', async () => {
    const time = longTime();
    const start = Date.now();
    await shLine(`sleep ${time} & echo done`, { deadlineMs: 1_000 });
    expect(Date.now() - start).toBeLessThan(3_000);
    await until('no process is left', () => processesWith(time).length === 0, 3_000);
  });

  test('cancelling ends the command at once, and its outcome is unknown', async () => {
    const time = longTime();
    const abort = new AbortController();
    const ending = shLine(`sleep ${time} & sleep ${time}`, { deadlineMs: 60_000, signal: abort.signal });
    await until('it runs', () => processesWith(time).length >= 3);
    abort.abort();
    expect(await ending).toMatchObject({ kind: 'unknown', why: 'it was cancelled' });
    await until('no process is left', () => processesWith(time).length === 0, 3_000);
  });

  test('what was cancelled before it began has no effect that anybody waits for', async () => {
    const outcome = await ran(['sleep', '300'], { signal: AbortSignal.abort(), deadlineMs: 60_000 });
    expect(['unknown', 'failed']).toContain(outcome.kind);
  });

  test('100 MB of output end the command and not our memory', async () => {
    const before = process.memoryUsage().rss;
    const time = longTime();
    const outcome = await shLine(`head -c 100000000 /dev/zero; sleep ${time}`);
    expect(outcome).toMatchObject({ kind: 'unknown', why: expect.stringMatching(/more than 1048576 bytes/) });
    if (outcome.kind === 'unknown') expect(outcome.stdout).toHaveLength(defaultMaxBytes);
    expect(process.memoryUsage().rss - before).toBeLessThan(60e6);
    await until('no process is left', () => processesWith(time).length === 0, 3_000);
  });

  test('a flood of errors is bounded as well', async () => {
    const outcome = await shLine('head -c 100000000 /dev/zero >&2', { maxBytes: 1000 });
    expect(outcome).toMatchObject({ kind: 'unknown', why: expect.stringMatching(/more than 1000 bytes/) });
  });

  test('bytes that are no text come as marks of what they were, and the rest is kept', async () => {
    const outcome = await shLine(`printf 'a\\377\\376b\\000c\\303\\n'`);
    expect(outcome).toMatchObject({ kind: 'exited', code: 0, stdout: 'a\uFFFD\uFFFDb\0c\uFFFD\n' });
  });

  test('a character that arrives in two pieces is one character', async () => {
    const outcome = await shLine(
      `printf '\\303'; sleep 0.2; printf '\\244'; printf '\\303' >&2; sleep 0.2; printf '\\244' >&2`,
    );
    expect(outcome).toMatchObject({ stdout: 'ä', stderr: 'ä' });
  });

  test('many commands at once keep their outputs apart', async () => {
    const all = await Promise.all(
      Array.from({ length: 8 }, (_, index) => shLine(`sleep 0.1; seq ${index} ${index + 3}`)),
    );
    expect(all.map((one) => (one.kind === 'exited' ? one.stdout : one))).toEqual(
      all.map((_, index) => [0, 1, 2, 3].map((step) => `${index + step}\n`).join('')),
    );
  });

  test('closing the shell ends what still runs', async () => {
    const time = longTime();
    const other = make();
    const running = await other.start({ argv: ['sh', '-c', `sleep ${time} & sleep ${time}`], deadlineMs: 60_000 });
    await until('it runs', () => processesWith(time).length >= 3);
    other.close();
    expect(await running.done).toMatchObject({ kind: 'unknown' });
    await until('no process is left', () => processesWith(time).length === 0, 3_000);
  });
}

real(
  'nsenter',
  'ip',
  'sshd',
)('every shell', () => {
  describe('local', () => contract(() => new ProcessShell()));
  describe('in a network namespace', () => contract(() => new ProcessShell(namespaces.names[0])));
  describe('over ssh', () => contract(() => new SshShell(sshd.spec)));

  test.each([
    ['local', () => new ProcessShell()],
    ['ssh', () => new SshShell(sshd.spec)],
  ])('%s: a command enters the namespace that it names, by name or process', async (_, make) => {
    const shell = make();
    const [name = ''] = namespaces.names;
    const identity = sh('nsenter', `--net=/run/netns/${name}`, 'readlink', '/proc/self/ns/net');
    const argv = ['readlink', '/proc/self/ns/net'];
    expect(await run(shell, { argv, netns: name, deadlineMs: 5_000 })).toMatchObject({ stdout: identity });
    const running = await shell.start({ argv: ['sleep', longTime()], netns: name, deadlineMs: 10_000 });
    const pid = await until('it runs', () => Number(sh('ip', 'netns', 'pids', name).trim()));
    expect(await run(shell, { argv, pid, deadlineMs: 5_000 })).toMatchObject({ stdout: identity });
    running.kill();
    await running.done;
    expect(await run(shell, { argv, netns: 'undrop-t-none', deadlineMs: 5_000 })).toMatchObject({ code: 1 });
    shell.close();
  });
});
