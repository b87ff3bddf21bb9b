import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gunzip, gzip } from 'node:zlib';
import { z } from 'zod';
import type { DiagnoseResult } from '../domain/runs.ts';
import { Sample } from '../domain/sample.ts';
import type { EvidenceParts } from '../domain/steps.ts';
import { UserError } from './output.ts';

/** Everything that judging needs, in one file: gzipped JSON. */
export interface Bundle {
  /** Digest of the runbook under which it was observed. */
  runbook: string;
  parts: EvidenceParts;
}

/** A bundle may come from anybody: only what judging reads is checked, and nothing in it is ever run. */
const Edge = z.object({
  at: z.number(),
  samples: z.record(z.string(), Sample),
  failed: z.record(z.string(), z.string()),
});
const Count = z.number().min(0);
const Flow = z.object({
  source: z.string(),
  sourcePort: Count,
  destination: z.string(),
  destinationPort: Count,
  sent: Count,
  lost: Count,
});
/** Of traffic that was watched; see domain/probe.ts. */
const Watched = z.object({
  requests: Count,
  replies: Count,
  unread: Count,
  silent: Count,
  slack: Count,
  leftOut: z.record(z.string(), Count),
  flows: z.array(Flow),
  others: z.object({ flows: Count, sent: Count, lost: Count }),
});
const Probe = z.object({
  ...Object.fromEntries(
    (['sent', 'tooBig', 'answered', 'lost', 'damaged', 'ownDrops', 'strange'] as const).map((name) => [name, Count]),
  ),
  requestLost: z.number(),
  replyLost: z.number(),
  refused: z.record(z.string(), Count),
  oneWay: z.boolean(),
  bySize: z.array(
    z.object({ size: Count, sent: Count, tooBig: Count, answered: Count, arrived: Count, lost: z.number() }),
  ),
  watched: Watched.optional(),
});
const Place = z.object({
  name: z.string(),
  role: z.enum(['sender', 'hop', 'receiver']),
  node: z.string(),
  address: z.string(),
  nodeAddress: z.string(),
});
const Form = z.object({
  undrop: z.literal('bundle 1'),
  runbook: z.string(),
  parts: z.object({
    path: z.looseObject({ text: z.string(), places: z.array(z.looseObject(Place.shape)).min(2) }),
    first: Edge,
    parts: z.array(z.object({ step: z.string(), after: Edge, probe: Probe.optional(), chip: z.number().optional() })),
  }),
});

/** More than any bundle has: a small file must not unpack into all of the memory. */
const mostBytes = 256 << 20;

export async function writeBundle(file: string, bundle: Bundle): Promise<void> {
  await writeFile(file, await promisify(gzip)(JSON.stringify({ undrop: 'bundle 1', ...bundle })));
}

/** Reads a bundle, or puts one together from the evidence of a run. @throws UserError that says what is wrong with it */
export async function readBundle(name: string): Promise<Bundle> {
  const packed = await readFile(name).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw new UserError(`${name}: ${error.message}`);
  });
  if (!packed) return bundleOfRun(name);
  let value: unknown;
  try {
    value = JSON.parse((await promisify(gunzip)(packed, { maxOutputLength: mostBytes })).toString('utf8'));
  } catch (error) {
    throw new UserError(`${name} is no bundle of undrop: ${error instanceof Error ? error.message : String(error)}`);
  }
  const checked = Form.safeParse(value);
  if (!checked.success) {
    const [fault] = checked.error.issues;
    throw new UserError(`${name} is no bundle of undrop: ${fault?.path.join('.') ?? ''} ${fault?.message ?? ''}`);
  }
  return checked.data as unknown as Bundle;
}

async function bundleOfRun(run: string): Promise<Bundle> {
  const [{ evidenceStore }, { runsFolder }] = await Promise.all([
    import('../worker/evidence.ts'),
    import('../worker/paths.ts'),
  ]);
  const plain = /^[\w-]+$/.test(run);
  const text = plain && (await readFile(join(runsFolder(), run, 'report.json'), 'utf8').catch(() => undefined));
  if (!text) throw new UserError(`there is no file ${run}, and no run of that name in ${runsFolder()}`);
  const { evidence, path, runbook } = JSON.parse(text) as DiagnoseResult;
  const store = evidenceStore();
  const [first, ...parts] = await Promise.all([evidence.first, ...evidence.parts].map((digest) => store.get(digest)));
  return { runbook, parts: { path, first, parts } as EvidenceParts };
}
