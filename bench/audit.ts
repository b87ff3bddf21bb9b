/**
 * How fast an audit is, against what else one would use, on the same ssh targets with the same checks:
 *   node bench/audit.ts [ROUNDS] [--quick] [against] [faults] [crash] [thousand]   as root, on a quiet machine; about four minutes
 * All targets are one sshd on this machine: its processors are shared by client and targets, so what a node costs counts
 * for everybody. Rivals find the script on the target; undrop sends it with each new connection.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse } from 'yaml';
import { atOnce } from '../domain/at-once.ts';
import type { AuditInput, AuditRecord, AuditResult } from '../domain/audit.ts';
import { Inventory } from '../domain/inventory.ts';
import { readNode } from '../nodes/sampling/audit.ts';
import { ShellPool } from '../nodes/shells/pool.ts';
import { type Engine, openEngine } from '../worker/engine.ts';
import { evidenceStore } from '../worker/evidence.ts';
import { installRivals, runRivals } from './audit-rivals.ts';
import { insideNamespaces, startTargets, writeInventory } from './audit-targets.ts';
import { median, root, row } from './measure.ts';

/** As many targets at once as undrop takes: the same for all. */
const places = 50;
const say = (line: string): void => void process.stdout.write(`${line}\n`);
const nameOf = (file: string): string => /([^/]+)\.yaml$/.exec(file)?.[1] ?? '';

async function worker(file: string): Promise<ChildProcess> {
  const child = spawn(join(root, 'undrop'), ['worker', '-i', file], { stdio: ['ignore', 'pipe', 'ignore'] });
  await new Promise((resolve) => child.stdout.once('data', resolve));
  return child;
}
const ended = (child: ChildProcess, signal: NodeJS.Signals): Promise<unknown> => {
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  return gone;
};

/** One audit to its end. @returns seconds, and what it found */
async function audit(engine: Engine, file: string, change: Partial<AuditInput> = {}, amid?: () => Promise<void>): Promise<{ seconds: number; started: number; result: AuditResult }> {
  const name = nameOf(file);
  const started = Date.now();
  const handle = await engine.client.workflow.start('audit', {
    workflowId: `audit/${name}/${started}`,
    taskQueue: `undrop-${name}`,
    args: [{ inventory: name, requester: 'bench', visible: true, ...change }],
    workflowTaskTimeout: '4s',
  });
  await amid?.();
  const result = (await handle.result()) as AuditResult;
  return { seconds: (Date.now() - started) / 1000, started, result };
} // prettier-ignore

/** Cold and three times warm with a worker of its own. */
async function coldAndWarm(engine: Engine, file: string): Promise<{ cold: number; warm: number; megabytes: number }> {
  const child = await worker(file);
  const cold = await audit(engine, file);
  const warm = [];
  for (let turn = 0; turn < 3; turn++) warm.push((await audit(engine, file)).seconds);
  const kib = Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1]);
  if (cold.result.unreachable.length) throw new Error(`not read: ${JSON.stringify(cold.result.unreachable[0])}`);
  await ended(child, 'SIGTERM');
  return { cold: cold.seconds, warm: median(warm), megabytes: kib / 1024 };
}

async function against(engine: Engine, folder: string, rounds: number, slow: boolean): Promise<void> {
  const file = writeInventory(folder, 'hundred', 100);
  await ended(await worker(file), 'SIGTERM'); // builds what is built once
  const times = new Map<string, number[]>();
  const note = (name: string, seconds: number): void => void times.set(name, [...(times.get(name) ?? []), seconds]);
  for (let round = 0; round < rounds; round++) {
    const ours = async (): Promise<void> => {
      const { cold, warm } = await coldAndWarm(engine, file);
      note('undrop cold', cold);
      note('undrop warm', warm);
    };
    const theirs = (): void => {
      for (const { name, seconds, givenUp } of runRivals(folder, 100, places, slow && round === 0)) note(givenUp ? `${name} (given up)` : name, seconds);
    };
    // In turns: whoever comes second would always meet a warmer machine.
    if (round % 2) theirs();
    await ours();
    if (round % 2 === 0) theirs();
  }
  const of = (name: string): number => median(times.get(name) ?? []);
  say('\n100 targets                                      seconds   undrop (warm for what is kept) is faster by');
  for (const [name, all] of times) {
    const base = of(/cold|asyncssh cold/.test(name) || !/warm/.test(name) ? 'undrop cold' : 'undrop warm');
    say(`${name.padEnd(48)} ${median(all).toFixed(2).padStart(7)}   ${name.startsWith('undrop') ? all.map((one) => one.toFixed(2)).join(' ') : `${(median(all) / base).toFixed(1)} x`}`);
  }
  row('undrop cold, times asyncssh cold', of('undrop cold') / of('asyncssh cold'), 1, 'x');
  row('undrop warm, times asyncssh warm', of('undrop warm') / of('asyncssh warm'), 1, 'x');
  const playbook = [...times].find(([name]) => name.startsWith('ansible-playbook'))?.[1];
  if (playbook) row('undrop cold, times the playbook', of('undrop cold') / median(playbook), 1 / 20, 'x');
} // prettier-ignore

/**
 * What the engine adds to the same readings over the same kind of connections, with as many at once. In turns, three times:
 * a thousand handshakes take 20 s, of which a shared machine gives or takes a second.
 */
async function thousand(engine: Engine, folder: string): Promise<void> {
  const file = writeInventory(folder, 'thousand', 1000);
  const inventory = Inventory.parse(parse(readFileSync(file, 'utf8')));
  const bare = async (): Promise<{ cold: number; warm: number }> => {
    const shells = new ShellPool(inventory);
    const reading = async (): Promise<number> => {
      const started = performance.now();
      await atOnce(places, Object.keys(inventory.nodes), async (name) => readNode(shells.of(name), { deadlineMs: 60_000 })); // prettier-ignore
      return (performance.now() - started) / 1000;
    };
    const cold = await reading();
    const warm = median([await reading(), await reading(), await reading()]);
    await shells.close();
    return { cold, warm };
  };
  const [ours, theirs]: [{ cold: number; warm: number; megabytes: number }[], { cold: number; warm: number }[]] = [
    [],
    [],
  ];
  for (let round = 0; round < 3; round++) {
    if (round % 2) theirs.push(await bare());
    ours.push(await coldAndWarm(engine, file));
    if (round % 2 === 0) theirs.push(await bare());
  }
  const of = (all: readonly { cold: number; warm: number }[], what: 'cold' | 'warm'): number => median(all.map((one) => one[what])); // prettier-ignore
  const all = (what: 'cold' | 'warm'): string => `${what} ${ours.map((one) => one[what].toFixed(2)).join(' ')} s, the bare readings ${theirs.map((one) => one[what].toFixed(2)).join(' ')} s`; // prettier-ignore
  say(`\n1,000 targets: ${all('cold')}; ${all('warm')}`);
  row('1,000 targets cold, what the engine adds', of(ours, 'cold') - of(theirs, 'cold'), 1, 's');
  row('1,000 targets warm, what the engine adds', of(ours, 'warm') - of(theirs, 'warm'), 1, 's');
  row('1,000 targets, memory of the worker at most', Math.max(...ours.map(({ megabytes }) => megabytes)), 700, 'MB');
}

/** Black holes and hanging targets among the others: named in time, and the others are read as soon as without them. */
async function faults(engine: Engine, folder: string): Promise<void> {
  const deadlineMs = 5_000;
  const last: number[] = [];
  const whole: number[] = [];
  for (const faulty of [false, true]) {
    const file = writeInventory(folder, faulty ? 'faulty' : 'sound', 100, faulty);
    const child = await worker(file);
    const { seconds, started, result } = await audit(engine, file, { deadlineMs });
    const { values } = await evidenceStore().get<AuditRecord>(result.record);
    const batches = await Promise.all([...new Set(Object.values(values))].map((digest) => evidenceStore().get<Record<string, { seen: number; took: number }>>(digest))); // prettier-ignore
    last.push(Math.max(...batches.flatMap((batch) => Object.values(batch).map(({ seen, took }) => seen + took / 2 - started))) / 1000); // prettier-ignore
    whole.push(seconds);
    if (faulty) {
      say(`\n100 targets, ${result.unreachable.length} of them bad (5 black holes, 2 that hang), each named: ${result.unreachable.map(({ node }) => node).join(', ')}`); // prettier-ignore
      row('bad targets that are not named', 7 - result.unreachable.length, 0, '');
    }
    await ended(child, 'SIGTERM');
  }
  row('the last good target, later than without bad ones', (last[1] ?? 0) - (last[0] ?? 0), 1, 's');
  // The last of the bad ones may be begun as late as the others take together.
  row('the whole audit, beyond one without bad ones and a deadline', (whole[1] ?? 0) - (whole[0] ?? 0) - deadlineMs / 1000, 1, 's'); // prettier-ignore
}

/** One of two workers is killed when a part is read. */
async function crash(engine: Engine, folder: string): Promise<void> {
  const file = writeInventory(folder, 'crash', 100);
  const undisturbed: number[] = [];
  const killed: number[] = [];
  for (let turn = 0; turn < 3; turn++)
    for (const kill of [false, true]) {
      const [first, second] = [await worker(file), await worker(file)];
      const amid = async (): Promise<void> => {
        await new Promise((resolve) => setTimeout(resolve, 400));
        await ended(first, 'SIGKILL');
      };
      const { seconds, result } = await audit(engine, file, {}, kill ? amid : undefined);
      if (result.unreachable.length) throw new Error('a crash made targets unreachable');
      (kill ? killed : undisturbed).push(seconds);
      if (!kill) await ended(first, 'SIGTERM');
      await ended(second, 'SIGTERM');
    }
  row('a worker killed amid the audit of 100 costs', median(killed) - median(undisturbed), 5, 's');
}

const rounds = Number(process.argv[2]) || 3;
const quick = process.argv.includes('--quick');
if (!process.env['UNDROP_BENCH_INSIDE']) {
  installRivals();
  const folder = mkdtempSync(join(tmpdir(), 'undrop-bench-'));
  process.env['UNDROP_BENCH_FOLDER'] = folder;
  process.env['UNDROP_DATA'] = join(folder, 'data');
  process.env['XDG_CACHE_HOME'] ??= join(process.env['HOME'] ?? '', '.cache');
  insideNamespaces(folder);
  rmSync(folder, { recursive: true, force: true });
} else {
  const folder = process.env['UNDROP_BENCH_FOLDER'] ?? '';
  await startTargets(folder, 1000);
  const engine = await openEngine(() => {});
  say(`load ${(loadavg()[0] ?? 0).toFixed(1)} before the first run, ${places} targets at once`);
  const parts: Record<string, () => Promise<void>> = {
    against: () => against(engine, folder, rounds, !quick),
    faults: () => faults(engine, folder),
    crash: () => crash(engine, folder),
    thousand: () => thousand(engine, folder),
  };
  const wanted = Object.keys(parts).filter((part) => process.argv.includes(part));
  for (const part of wanted.length ? wanted : Object.keys(parts)) await parts[part]?.();
  await engine.close();
  process.exit();
}
