import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Sample } from '../../domain/sample.ts';
import type { Place } from '../../domain/target.ts';
import { type Shell, run } from '../shells/shell.ts';
import { parseSample } from './parse.ts';

const script = readFileSync(new URL('sampler.sh', import.meta.url), 'utf8');

/** A usual node answers in 0.1 s; one with 100,000 conntrack entries and 20,000 rules in about 2 s. */
const deadlineMs = 8_000;

export interface Reading {
  /** `light` leaves out what does not change within a round: devices, features, routes, conntrack entries. */
  mode: 'full' | 'light';
  /** Destinations whose route is asked for. */
  routes?: readonly string[];
  /** Where flows lead whose conntrack entries are listed: a node's own address has thousands of others. */
  flowsTo?: readonly { address: string; port: number }[];
  signal?: AbortSignal;
}

/**
 * Reads one place once, in one round trip.
 * @throws Error that names the place and says why there is no sample (a broken-off one is none)
 */
export async function takeSample(shell: Shell, place: Place, reading: Reading): Promise<Sample> {
  const nonce = randomBytes(8).toString('hex');
  const flows = (reading.flowsTo ?? []).map(({ address, port }) => `@${address}/${port}`);
  const words = [...(reading.routes ?? []), ...new Set(flows), ...(place.containers ?? []).map((pid) => `%${pid}`)];
  const outcome = await run(
    shell,
    {
      argv: ['sh', '-s', '--', nonce, reading.mode, ...words],
      deadlineMs,
      ...(place.netns !== undefined && { netns: place.netns }),
      ...(place.pid !== undefined && { pid: place.pid }),
      ...(reading.signal && { signal: reading.signal }),
    },
    script,
  );
  if (outcome.kind !== 'exited') throw new Error(`${place.name}: ${outcome.why}`);
  if (outcome.code !== 0 && !outcome.stdout.includes(`#${nonce} `))
    throw new Error(
      `${place.name}: the sampler ended with status ${outcome.code}: ${outcome.stderr.trim().slice(0, 200)}`,
    );
  try {
    return parseSample(outcome.stdout, nonce);
  } catch (error) {
    throw new Error(`${place.name}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}
