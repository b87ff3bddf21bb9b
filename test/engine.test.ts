import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Inventory } from '../domain/inventory.ts';
import { temporalBinary } from '../worker/binary.ts';
import { type Command, Commands } from './support/commands.ts';
import { Namespaces, real } from './support/machine.ts';
import { Pair } from './support/pair.ts';
import { Road, diagnosed } from './support/road.ts';
import { freePort } from './support/port.ts';
import { processesWith, until } from './support/until.ts';

const namespaces = new Namespaces();
const commands = new Commands();
let pair: Pair;
/** A data folder for each test: every one starts from nothing. */
let road: Road;
let file: string;

const undrop = (words: string[], env?: NodeJS.ProcessEnv): Command => commands.start([...words, '-i', file], env);
const server = (): number[] => processesWith(join(road.data, 'temporal.db'));
const keeper = (): number[] => processesWith(`keeper.ts\0${road.data}`);
const address = ({ stdout }: Command): string | undefined => /127\.0\.0\.1:\d+/.exec(stdout)?.[0];
const gone = (): Promise<unknown> =>
  until('no process is left', () => road.processes().length + pair.processes().length === 0, 15_000);
const listens = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = createConnection(port, '127.0.0.1', () => resolve(true)).on('error', () => resolve(false));
    socket.on('connect', () => socket.destroy());
  });
/** All files below a folder. */
const files = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true }).filter((one) => one.isFile()).map(({ name }) => name); // prettier-ignore

real('ip', 'python3')('the embedded server', () => {
  beforeAll(async () => {
    pair = await Pair.make(namespaces, 'engine');
  });
  beforeEach(() => {
    road = new Road();
    file = road.file(pair.inventory);
  });
  afterEach(async () => {
    await commands.end();
    await road.close();
  }, 60_000);
  afterAll(() => namespaces.remove());

  test('is shared by commands that start at once, and ends with the last of them', async () => {
    const both = [undrop(['worker']), undrop(['worker'])] as const;
    for (const one of both) await one.says('working on');
    expect(address(both[0])).toMatch(/:\d+$/);
    expect(address(both[1])).toBe(address(both[0]));
    expect([server().length, keeper().length]).toEqual([1, 1]);
    const before = server();
    both[0].kill('SIGINT');
    expect(await both[0].ended).toBe(0);
    const third = undrop(['runs']);
    expect(await third.ended).toBe(0);
    expect(third.stdout).toContain('no runs of this inventory yet');
    expect(server()).toEqual(before);
    both[1].kill('SIGTERM');
    expect(await both[1].ended).toBe(0);
    await gone();
  });

  test('^C during a diagnosis cancels it, and leaves no process, prober or half a file', async () => {
    const command = undrop(['diagnose', pair.target]);
    await command.says('small');
    expect(pair.processes().length).toBeGreaterThan(0);
    command.kill('SIGINT');
    expect(await command.ended).toBe(130);
    expect(command.stderr).toMatch(/cleaning up.*\n(.*\n)*undrop: the run was cancelled\n$/);
    await gone();
    const evidence = files(join(road.data, 'evidence'));
    expect(evidence.length).toBeGreaterThan(0);
    expect(evidence.filter((name) => !/^[0-9a-f]{64}\.json\.gz$/.test(name))).toEqual([]);
    expect(existsSync(join(road.data, 'runs'))).toBe(false);
    const listing = undrop(['runs']);
    expect(await listing.ended).toBe(0);
    expect(listing.stdout).toMatch(/^\S+ +\S+ +alpha->omega +cancelled\n$/);
  });

  test('a second ^C leaves at once, and nothing stays behind', async () => {
    const command = undrop(['diagnose', pair.target]);
    await command.says('small');
    command.kill('SIGINT');
    await until('it cleans up', () => command.stderr.includes('cleaning up'));
    command.kill('SIGINT');
    expect(await command.ended).toBe(130);
    await gone();
  });

  test('^C while it starts ends it, and nothing stays behind', async () => {
    const command = undrop(['diagnose', pair.target]);
    await until('the server starts', () => server().length > 0, 30_000);
    command.kill('SIGINT');
    expect(['SIGINT', 130]).toContain(await command.ended);
    await gone();
  });

  test('a killed keeper stops nobody: the next command starts, and who outlived the keeper works on', async () => {
    const worker = undrop(['worker']);
    await worker.says('working on');
    const old = { server: server(), keeper: keeper() };
    old.keeper.forEach((pid) => process.kill(pid, 'SIGKILL'));
    const listing = undrop(['runs']);
    expect(await listing.ended).toBe(0);
    expect(server()).toHaveLength(1);
    expect([server(), keeper()]).not.toEqual([old.server, old.keeper]);
    await road.open();
    expect(road.engine.address).toBe(address(worker));
    // This session does no work: only the worker from before can.
    const { kind } = await diagnosed(await road.session(pair.inventory, false), pair.target);
    expect(kind).toBe('no-loss');
    worker.kill('SIGINT');
    expect(await worker.ended).toBe(0);
  });

  test('remains of a keeper and a server that were killed with all commands do not block the next start', async () => {
    const worker = undrop(['worker']);
    await worker.says('working on');
    for (const pid of [...keeper(), worker.pid]) process.kill(pid, 'SIGKILL');
    await worker.ended;
    const [orphan] = server();
    expect(orphan).toBeDefined();
    const listing = undrop(['runs']);
    expect(await listing.ended).toBe(0);
    await gone();
  });

  describe("on somebody else's server", () => {
    let there: string;
    let external: ChildProcess;
    beforeAll(async () => {
      const port = await freePort();
      there = `127.0.0.1:${port}`;
      const argv = ['server', 'start-dev', '--ip', '127.0.0.1', '--port', String(port), '--headless'];
      external = spawn(await temporalBinary(() => {}), argv, { stdio: 'ignore' });
      await until('it listens', () => listens(port), 30_000);
    }, 40_000);
    afterAll(async () => {
      external.kill('SIGKILL');
      await until('it is gone', () => external.signalCode !== null);
    });

    test('a diagnosis without a worker says so within seconds, and what to do', async () => {
      const started = Date.now();
      const command = undrop(['diagnose', pair.target], { TEMPORAL_ADDRESS: there });
      expect(await command.ended).toBe(3);
      expect(Date.now() - started).toBeLessThan(20_000);
      expect(command.stderr).toContain(
        `undrop: no worker for this inventory at ${there} (queue undrop-engine): start one with \`undrop worker\`\n`,
      );
    });

    test('a worker elsewhere does the work, and no server is started here', async () => {
      const worker = undrop(['worker'], { TEMPORAL_ADDRESS: there });
      await worker.says(`working on undrop-engine at ${there}`);
      const command = undrop(['diagnose', pair.target], { TEMPORAL_ADDRESS: there });
      expect(await command.ended).toBe(0);
      expect([server(), keeper()]).toEqual([[], []]);
      worker.kill('SIGINT');
      expect(await worker.ended).toBe(0);
      await gone();
    });
  });
});

describe('without a server to be had', () => {
  const nodes = { a: { shell: 'local', address: '127.0.0.1' }, b: { shell: 'local', address: '127.0.0.2' } };
  let empty: string;
  beforeEach(() => {
    road = new Road();
    file = road.file(Inventory.parse({ name: 'none', nodes }));
    empty = mkdtempSync(join(tmpdir(), 'undrop-t-empty-'));
  });
  afterEach(async () => {
    await commands.end();
    await road.close();
    rmSync(empty, { recursive: true });
  });

  test('a named binary that is not there is one clear error', async () => {
    const command = undrop(['runs'], { UNDROP_TEMPORAL_BINARY: join(empty, 'temporal') });
    expect(await command.ended).toBe(3);
    expect(command.stderr).toMatch(/^(starting\n)?undrop: UNDROP_TEMPORAL_BINARY=\S+ is not an executable file\n$/);
  });

  test('no binary anywhere is one error that lists what was tried, and what to do', async () => {
    const proxy = `http://127.0.0.1:${await freePort()}`;
    const nowhere = { PATH: empty, XDG_CACHE_HOME: join(empty, 'cache'), HTTPS_PROXY: proxy, https_proxy: proxy };
    const started = Date.now();
    const command = undrop(['runs'], nowhere);
    expect(await command.ended).toBe(3);
    expect(Date.now() - started).toBeLessThan(20_000);
    const said = command.stderr.slice(command.stderr.indexOf('undrop:')).trim().split('\n');
    expect(said).toEqual([
      'undrop: there is no Temporal server to start. Tried:',
      '  - `temporal` on PATH: not there',
      expect.stringMatching(/^ {2}- the cache: no \S+\/temporal$/),
      expect.stringMatching(/^ {2}- the Temporal SDK's download: /),
      '  - a build with Go: there is no `go` on PATH',
      expect.stringMatching(/^Set TEMPORAL_ADDRESS .* `temporal` CLI on PATH, or install Go/),
    ]);
    expect(files(empty)).toEqual([]);
  });

  test('an address where nobody answers is a clear error within seconds', async () => {
    const there = `127.0.0.1:${await freePort()}`;
    const started = Date.now();
    const command = undrop(['diagnose', 'a->b'], { TEMPORAL_ADDRESS: there });
    expect(await command.ended).toBe(3);
    expect(Date.now() - started).toBeLessThan(15_000);
    expect(command.stderr).toContain(`undrop: the Temporal server at ${there} cannot be reached: `);
  });
});
