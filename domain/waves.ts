/** How a rollout goes from node to node. */
export interface RolloutRules {
  /** So many nodes first. Nodes go one after another until one is cured: before that nobody knows whether the remedy helps. */
  canary: number;
  /** Of each zone so many nodes in each further wave: `3`, or `25%` of the zone's nodes. */
  wave: string;
  /** So long a change must go on helping before it is confirmed; until then its node would revert it by itself. */
  soakSeconds: number;
  /** More failures than this stop the rollout, and everything that it changed is put back. */
  maxFailed: number;
  /** Whether a node that is still untouched is measured for each one that is cured, so that a loss which ended by itself is not credited. */
  control: boolean;
}

export const usualRules: RolloutRules = { canary: 1, wave: '25%', soakSeconds: 60, maxFailed: 0, control: true };

const sizes = /^([1-9]\d{0,3})(%?)$/;

/** @returns why a wave's size is none, or undefined */
export function wrongWave(wave: string): string | undefined {
  const [, number, percent] = sizes.exec(wave) ?? [];
  if (number === undefined)
    return `"${wave}" is no size of a wave: give a number of nodes, such as 3, or a share, such as 25%`;
  return percent && Number(number) > 100 ? `${wave} is more than all` : undefined;
}

/**
 * The canaries, then some of each zone at a time, in the order in which they came.
 * @param items with the zone and the node of each; what is at one node is in one wave
 */
export function wavesOf<T extends { zone: string; node: string }>(
  items: readonly T[],
  { canary, wave }: Pick<RolloutRules, 'canary' | 'wave'>,
): T[][] {
  const nodes = [...Map.groupBy(items, ({ node }) => node).values()];
  const zones = [...Map.groupBy(nodes.slice(canary), ([first]) => first?.zone ?? '').values()];
  const [, number = '1', percent] = sizes.exec(wave) ?? [];
  const taken = zones.map((zone) => {
    const all = nodes.filter(([first]) => first?.zone === zone[0]?.[0]?.zone).length;
    return percent ? Math.max(1, Math.floor((all * Number(number)) / 100)) : Number(number);
  });
  const waves = [nodes.slice(0, canary)];
  for (let round = 0; ; round++) {
    const next = zones.flatMap((zone, at) => {
      const size = taken[at] ?? 1;
      return zone.slice(round * size, (round + 1) * size);
    });
    if (next.length === 0) return waves.map((one) => one.flat()).filter((one) => one.length > 0);
    waves.push(next);
  }
}
