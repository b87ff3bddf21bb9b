import { type Need, needed } from './approval.ts';
import { type Plan, type Radius, radiusLine } from './plan.ts';
import type { Part, SignedRollout } from './rollout.ts';

/** So many different texts of plans are told; of the rest the number. */
const mostTexts = 3;
/** So many targets are told with what they lost. */
const mostLosses = 6;

/**
 * All that an approver has to know of a rollout besides its changes, as pairs of a name and a text.
 * @param needs what people must give, where that is still of interest
 */
export function rolloutFacts({ rollout }: SignedRollout, needs?: readonly Need[]): [string, string][] {
  const { rules, waves, skipped } = rollout;
  const parts = waves.flat();
  const lost = parts.map(({ target, plan: { verify } }) => `${target} ${verify[0]?.lost} of ${verify[0]?.sent}`);
  return [
    ['asked by', `${rollout.requester}, as rollout ${rollout.name} of ${rollout.inventory}`],
    ...waves.map((wave, at): [string, string] => [`wave ${at + 1}`, waveText(wave, at)]),
    ['cures', shortened(lost, mostLosses)],
    ['predicts', each(parts, (plan) => `${plan.predict} (within ${plan.withinSeconds} s, else that node is reverted)`)],
    ['before', 'each node is diagnosed again, and left alone where its loss or its values are others by then'],
    ['soak', `it must go on helping for ${rules.soakSeconds} s before it is confirmed`],
    ...(rules.control ? [['control', 'an untouched node of a later wave must still lose, or the cure is not credited and is put back'] satisfies [string, string]] : []),
    ['stops', `after more than ${rules.maxFailed} failures; then everything that it changed is put back`],
    ['touches', `over all nodes ${radiusLine(radiusOver(parts))}`],
    ['risk', `${rollout.risk}; cost at each node: ${each(parts, ({ cost }) => cost)}`],
    ['owner', each(parts, ({ owner }) => owner)],
    ['lasts', each(parts, ({ lasts }) => lasts)],
    ['undo', parts.every(({ plan }) => plan.reversible) ? 'stored on each node, which reverts by itself unless confirmed' : 'deleted entries cannot be put back; they are learned anew'],
    ...skipped.map(({ target, why }): [string, string] => ['left out', `${target}: ${why}`]),
    ...(needs ? [['needs', needed(needs)] satisfies [string, string]] : []),
    ['expires', new Date(rollout.expiresAt).toISOString()],
  ]; // prettier-ignore
}

const waveText = (wave: readonly Part[], at: number): string =>
  `${wave.map(({ node, zone }) => (zone ? `${node} (${zone})` : node)).join(', ')}${at === 0 ? ', one after another: the canaries' : ''}`;

/** What plans say, each text once. */
const each = (parts: readonly Part[], text: (plan: Plan) => string): string =>
  shortened([...new Set(parts.map(({ plan }) => text(plan)))], mostTexts);

const shortened = (texts: readonly string[], count: number): string =>
  `${texts.slice(0, count).join('; ')}${texts.length > count ? `; +${texts.length - count} more` : ''}`;

/** What lives at all places of a rollout. What several plans found at one place is there once; entries that are named add up. */
function radiusOver(parts: readonly Part[]): Radius {
  const radii = parts.map(({ plan }) => ({ at: plan.changes.map(({ place }) => place).join(), radius: plan.radius }));
  if (radii.every(({ radius }) => radius.exact)) return together(radii.map(({ radius }) => radius), sum); // prettier-ignore
  const places = [...Map.groupBy(radii, ({ at }) => at).values()];
  return together(places.map((all) => together(all.map(({ radius }) => radius), most)), sum); // prettier-ignore
}

type Join = (counts: readonly number[]) => number;
const sum: Join = (counts) => counts.reduce((one, other) => one + other, 0);
const most: Join = (counts) => Math.max(...counts);

/** What could not be read at one of them is unknown of all. */
function together(all: readonly Radius[], join: Join): Radius {
  const joined = (counts: readonly (number | null)[]): number | null => {
    const known = counts.filter((count) => count !== null);
    return known.length === counts.length ? join(known) : null;
  };
  const [udp, pods] = (['udp', 'pods'] as const).map((what) => all.flatMap((one) => (one[what] === undefined ? [] : [one[what]]))) as [(number | null)[], (number | null)[]]; // prettier-ignore
  const unlisted = all.find((one) => one.unlisted !== undefined)?.unlisted;
  return {
    flows: joined(all.map(({ flows }) => flows)),
    ...(all.every(({ exact }) => exact) && { exact: true }),
    ...(udp.length > 0 && { udp: joined(udp) }),
    ...(pods.length > 0 && { pods: joined(pods) }),
    services: [...new Set(all.flatMap(({ services }) => services))].toSorted(),
    ...(unlisted !== undefined && { unlisted }),
  };
}
