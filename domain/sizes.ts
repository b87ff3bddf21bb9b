import type { ProbeResult } from './probe.ts';
import { significant } from './statistics.ts';

/** Where a sweep over sizes breaks. `sharp`: everything up to `passes` arrives, nothing from `fails` on does. */
export interface Cliff {
  sharp: boolean;
  /** Largest payload that arrives, and smallest that does not, in bytes. */
  passes: number;
  fails: number;
  lostAbove: number;
}

export const noCliff: Cliff = { sharp: false, passes: 0, fails: 0, lostAbove: 0 };

/** Finds the one size at which loss jumps from at most 10 % to at least 90 %. */
export function cliffOf(probe: ProbeResult | undefined): Cliff {
  const sizes = (probe?.bySize ?? []).filter((one) => one.sent > 0);
  const good = (one: { lost: number; sent: number }): boolean => one.lost <= 0.1 * one.sent;
  const bad = (one: { lost: number; sent: number }): boolean => one.lost >= 0.9 * one.sent;
  const first = sizes.findIndex((one) => !good(one));
  if (first < 1) return noCliff;
  const above = sizes.slice(first);
  const lostAbove = above.reduce((sum, one) => sum + one.lost, 0);
  return {
    sharp: above.every(bad) && significant(lostAbove),
    passes: sizes[first - 1]?.size ?? 0,
    fails: sizes[first]?.size ?? 0,
    lostAbove,
  };
}
