import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ClusterView } from '../../domain/cluster.ts';
import { openingStep, passiveStep } from '../../domain/evidence.ts';
import { type Captured, ownServer, serversFor } from '../../domain/captures.ts';
import { joinCaptures, withUnread } from '../../domain/passive.ts';
import type { EvidenceParts } from '../../domain/steps.ts';
import type { Path, Place } from '../../domain/target.ts';
import { Capture } from '../capturing/capture.ts';
import { located } from '../shells/locate.ts';
import type { ShellPool } from '../shells/pool.ts';
import { Observer, type Part } from './observer.ts';

/** A window is watched in so many parts, with a sample at each edge: a count must grow when datagrams are lost. */
const mostParts = 8;
/** No part is shorter: samples take 0.1 s. */
const shortestPartMs = 500;
/** How long what was sent last may be on its way. */
const flightMs = 200;
/** What a capture lives longer than its window: samples of slow nodes at each edge. */
const aroundMs = 90_000;

export interface Watched extends EvidenceParts {
  /** Why the traffic could not be watched; then nothing is known of it. */
  failed?: string;
}

/**
 * Sees a path without sending anything: samples its places while captures at both ends note the target's own traffic.
 * @param shells reach nodes by what is there already
 * @throws Error when no place of the path can be read
 */
export async function watch(
  shells: Pick<ShellPool, 'of'>,
  path: Path,
  { windowMs, view, signal }: { windowMs: number; view?: ClusterView; signal?: AbortSignal },
): Promise<Watched> {
  // An observer sends only when it takes a step, and none is taken here.
  const observer = new Observer(shells, path, '');
  const first = await observer.begin(view, signal);
  if (Object.keys(first.samples).length === 0)
    throw new Error(`no place of ${path.text} can be read: ${Object.values(first.failed).join('; ')}`);
  const parts: Part[] = [];
  const open: Capture[] = [];
  const mark = async (): Promise<unknown> => Promise.all(open.map((capture) => capture.mark()));
  try {
    const captures = await opened(shells, path, windowMs, open);
    // What arrives counts from here, what is sent from the next mark on: it may be on its way in between.
    await mark();
    const count = Math.max(1, Math.min(mostParts, Math.floor(windowMs / shortestPartMs)));
    const edge = async (): Promise<Part['after']> => {
      await mark();
      const sampled = await observer.edge('light', signal);
      await mark();
      return sampled;
    };
    let before = await edge();
    parts.push({ step: openingStep, after: before });
    const begin = before;
    const afters: Part['after'][] = [];
    for (let part = 0; part < count; part++) {
      const left = before.at + windowMs / count - Date.now();
      await sleep(Math.max(0, left), undefined, signal ? { signal } : {});
      before = await edge();
      afters.push(before);
    }
    await sleep(flightMs, undefined, signal ? { signal } : {});
    const [sender, ...receivers] = await Promise.all(captures.map(async ({ place, capture }) => [place.name, await capture.stop()] as const)); // prettier-ignore
    if (!sender) throw new Error('the path has no sender');
    const seen = { sender: sender[1], receivers: Object.fromEntries<Captured>(receivers), windows: count };
    const entries = Object.values(first.samples).flatMap((sample) => sample.entries);
    const probes = withUnread(path, joinCaptures(path, seen, entries), begin, before);
    for (const [chip, after] of afters.entries()) {
      const probe = probes[chip];
      if (probe) parts.push({ step: passiveStep, chip, probe, after });
    }
    return { path, first, parts };
  } catch (error) {
    signal?.throwIfAborted();
    const failed = error instanceof Error ? error.message : String(error);
    if (parts.length === 0) parts.push({ step: openingStep, after: await observer.edge('light', signal) });
    return { path, first, parts, failed };
  } finally {
    for (const capture of open) capture.close();
  }
}

/**
 * Opens the captures, those of the receivers first: what the sender's saw must have had a chance to be seen there.
 * A receiver that cannot be watched is as one that is not on the path. @throws Error where the sender or all receivers are
 */
async function opened(
  shells: Pick<ShellPool, 'of'>,
  path: Path,
  windowMs: number,
  open: Capture[],
): Promise<{ place: Place; capture: Capture }[]> {
  const key = randomBytes(16).toString('hex');
  const one = async (place: Place, end: 'client' | 'server'): Promise<{ place: Place; capture: Capture }> => {
    const shell = shells.of(place.node);
    const servers = end === 'client' ? serversFor(path) : ownServer(path, place);
    const capture = await Capture.open(shell, await located(shell, place), { key, end, servers }, windowMs + aroundMs);
    open.push(capture);
    return { place, capture };
  };
  const places = path.places.filter(({ role }) => role === 'receiver');
  const tried = await Promise.allSettled(places.map((place) => one(place, 'server')));
  const receivers = tried.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  const refused = tried.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []));
  // A Service without endpoints has no receiver: then all that is sent to it is lost, and that can be seen.
  if (places.length > 0 && receivers.length === 0) throw refused[0];
  const sender = path.places[0];
  if (!sender) throw new Error('the path has no sender');
  return [await one(sender, 'client'), ...receivers];
}
