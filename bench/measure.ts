import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url));

export const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;

/** Milliseconds of each of several runs, one after another. */
export async function times(runs: number, work: () => unknown): Promise<number[]> {
  const taken: number[] = [];
  for (let run = 0; run < runs; run++) {
    const started = performance.now();
    await work();
    taken.push(performance.now() - started);
  }
  return taken;
}

/** Runs undrop as a user does and returns what it prints. @throws Error with its stderr when it fails in an unknown way */
export function undrop(...words: string[]): string {
  const { stdout, stderr, status } = spawnSync(`${root}/undrop`, words, { encoding: 'utf8', maxBuffer: 64 << 20 });
  if (status !== 0 && status !== 1) throw new Error(`undrop ${words.join(' ')}: ${stderr}`);
  return stdout;
}

/** One row: what was measured, the figure, the bar, and whether it holds. One that does not makes the bench fail at its end. */
export function row(what: string, figure: number, bar: number, unit: string): void {
  const holds = figure <= bar;
  if (!holds) process.exitCode = 1;
  const number = (value: number): string => (value < 10 ? value.toFixed(2) : value.toFixed(0));
  process.stdout.write(
    `${what.padEnd(64)} ${number(figure).padStart(7)} ${unit.padEnd(3)} at most ${number(bar)}  ${holds ? 'holds' : 'MISSED'}\n`,
  );
}
