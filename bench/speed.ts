/**
 * The speeds that undrop promises, measured as a user meets them: node bench/speed.ts [PART…], as root, on a quiet machine.
 * Each figure is the median of several runs; where two things are compared, both are measured in this run.
 */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DiagnoseResult } from '../domain/runs.ts';
import { down, labInventory, up } from '../lab/lab.ts';
import { takeSample } from '../nodes/sampling/sample.ts';
import { ShellPool } from '../nodes/shells/pool.ts';
import { run } from '../nodes/shells/shell.ts';
import { loadRunbook } from '../runbooks/load.ts';
import { hundred } from './hundred.ts';
import { median, root, row, times, undrop } from './measure.ts';

process.env['UNDROP_DATA'] = mkdtempSync(join(tmpdir(), 'undrop-bench-'));
process.env['NO_COLOR'] = '1';

async function help(): Promise<void> {
  row('undrop --help', median(await times(9, () => undrop('--help'))), 300, 'ms');
}

/** How long the window and the probes take by themselves: what was sent, at its rate, and the wait for late answers. */
function unavoidable({ steps }: DiagnoseResult, windowMs: number): number {
  const { methodology } = loadRunbook();
  return steps.reduce((sum, { step, sent }) => {
    const rate = methodology.steps.find(({ id }) => id === step)?.probe.rate ?? 0;
    return sum + (rate ? (1000 * sent) / rate : 0) + 400;
  }, windowMs);
}

async function diagnosis(): Promise<void> {
  await up('netns');
  try {
    const inventory = join(root, 'lab/netns/undrop.yaml');
    undrop('diagnose', 'p1->echo', '-i', inventory); // the first one builds what is built once
    const over: number[] = [];
    for (let turn = 0; turn < 5; turn++) {
      const started = performance.now();
      const result = JSON.parse(undrop('diagnose', 'p1->echo', '-i', inventory, '--json')) as DiagnoseResult;
      over.push(performance.now() - started - unavoidable(result, 1500));
    }
    row('undrop diagnose p1->echo, more than its window and probes', median(over), 3000, 'ms');
  } finally {
    await down('netns');
  }
}

/** One sample of a node with its own kernel over the kept ssh connection, and the bare script on the same connection. */
async function sample(): Promise<void> {
  await up('vm');
  const shells = new ShellPool(labInventory('vm'));
  try {
    const place = {
      name: 'router',
      role: 'hop',
      node: 'router',
      address: '172.31.1.254',
      nodeAddress: '172.31.1.254',
    } as const;
    const script = readFileSync(join(root, 'nodes/sampling/sampler.sh'), 'utf8');
    const shell = shells.of('router');
    const whole = async (): Promise<unknown> => takeSample(shell, place, { mode: 'full' });
    const bare = async (): Promise<unknown> => {
      const running = await shell.start({ argv: ['sh', '-s', '--', 'nonce', 'full'], deadlineMs: 30_000 });
      running.write(script);
      running.end();
      return running.done;
    };
    await whole();
    // In turns, so that whatever else the machine does meets both.
    const [ours, theirs]: [number[], number[]] = [[], []];
    for (let turn = 0; turn < 7; turn++) {
      theirs.push(...(await times(1, bare)));
      ours.push(...(await times(1, whole)));
    }
    row('one sample over a kept ssh connection, times the bare command', median(ours) / median(theirs), 2, 'x');
  } finally {
    await shells.close();
    await down('vm');
  }
}

async function idle(): Promise<void> {
  const worker = spawn(join(root, 'undrop'), ['worker', '-i', join(root, 'lab/netns/undrop.yaml')], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  await new Promise((resolve) => worker.stdout.once('data', resolve));
  await sleep(5_000);
  const kib = Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${worker.pid}/status`, 'utf8'))?.[1]);
  row('memory of an idle worker', kib / 1024, 250, 'MB');
  const ended = new Promise((resolve) => worker.once('exit', resolve));
  worker.kill('SIGINT');
  await ended;
}

/** A Service alone in a real cluster, surveyed and diagnosed with a window of 5 s; and commands over sessions that are open. */
async function cluster(): Promise<void> {
  await up('kubernetes');
  const shells = new ShellPool(labInventory('kubernetes'));
  try {
    const inventory = join(root, 'lab/kubernetes/undrop.yaml');
    const diagnose = (): string => undrop('diagnose', 'service/shop/echo', '-w', '5', '-i', inventory);
    diagnose();
    row('undrop diagnose service/shop/echo -w 5', median(await times(3, diagnose)) / 1000, 20, 's');
    const one = (node: string) => run(shells.of(node), { argv: ['true'], deadlineMs: 10_000 });
    const fifty = async (): Promise<void> => {
      const outcomes = await Promise.all(Array.from({ length: 50 }, (_, index) => one(index % 2 ? 'n1' : 'n2')));
      if (outcomes.some(({ kind }) => kind !== 'exited')) throw new Error('a command did not run');
    };
    await fifty();
    row('50 commands at once on two nodes over open sessions', median(await times(9, fifty)), 1000, 'ms');
    await hundred(await shells.cluster());
  } finally {
    await shells.close();
    await down('kubernetes');
  }
}

const load = spawnSync('cat', ['/proc/loadavg'], { encoding: 'utf8' }).stdout.split(' ')[0];
process.stdout.write(`load ${load} before the first run\n`);
const parts = { help, diagnosis, idle, sample, cluster };
const wanted = process.argv.slice(2);
try {
  for (const [name, part] of Object.entries(parts)) if (wanted.length === 0 || wanted.includes(name)) await part();
} finally {
  rmSync(process.env['UNDROP_DATA'] ?? '', { recursive: true, force: true });
}
