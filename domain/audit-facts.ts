import type { NodeValues } from './audit.ts';
import type { Typical } from './audit-peers.ts';
import type { Profile } from './audit-profile.ts';
import { differences } from './audit-differences.ts';
import type { Link } from './sample.ts';
import { unread } from './facts/unread.ts';

/** The names that the expressions of audit.yaml may use. */
export const auditFactNames = ['now', 'since', 'delta', 'hours', 'forecast', 'profile', 'peers', 'plane'] as const;
/** Fields of `now` that are no setting. */
export const derivedNames = ['fill', 'chain', 'overlay', 'clockOff', 'clockBlur', 'tracked', 'upHours'] as const;

/** One node with everything that it is held against. */
export interface Seen {
  values: NodeValues;
  /** Of the previous audit; a text says why there is nothing to compare with. */
  previous: NodeValues | string;
  profile: Profile | undefined;
  peers: Typical | string;
}

/**
 * What moved since the previous audit, or why the pair is void: another boot, another namespace, or a counter that went
 * down. A void pair proves nothing, least of all health.
 */
export function movedSince(before: NodeValues, after: NodeValues): { counters: Record<string, number>; hours: number } | string {
  if (before.bootId !== after.bootId) return 'the node was booted since the previous audit';
  if (before.netns !== after.netns) return 'it is another network namespace than in the previous audit';
  const seconds = after.uptime - before.uptime;
  if (!(seconds > 0)) return 'no time has passed since the previous audit';
  const counters: Record<string, number> = {};
  for (const [name, value] of Object.entries(after.counters)) {
    const old = before.counters[name];
    if (old === undefined) continue;
    if (value < old) return `${name} went down from ${old} to ${value}: it was reset since the previous audit`;
    counters[name] = value - old;
  }
  return { counters, hours: seconds / 3600 };
} // prettier-ignore

/** The named facts of one node. What is not known throws Unseen with its reason when asked for, and is never a zero. */
export function auditFacts({ values, previous, profile, peers }: Seen): Record<(typeof auditFactNames)[number], unknown> {
  const moved = typeof previous === 'string' ? previous : movedSince(previous, values);
  return {
    now: nowFacts(values),
    since:
      typeof previous === 'string'
        ? unread(previous)
        : {
            booted: previous.bootId !== values.bootId,
            upHours: values.uptime / 3600,
            ...(typeof moved !== 'string' && { ago: spell(moved.hours) }),
          },
    delta: typeof moved === 'string' ? unread(moved) : moved.counters,
    hours: typeof moved === 'string' ? unread(moved) : moved.hours,
    forecast:
      typeof previous === 'string'
        ? unread(previous)
        : typeof moved === 'string'
          ? unread(moved)
          : forecast(previous, values, moved.hours),
    profile: profile ? differences(values, profile, 'should be') : unread('the inventory has no profile of this node'),
    peers: typeof peers === 'string' ? unread(peers) : { size: peers.size, ...differences(values, peers.profile, 'is') },
    plane: values.plane ?? unread(values.missing['plane'] ?? 'kube-proxy was not looked at here'),
  };
} // prettier-ignore

/** `9 seconds`, `1.5 hours`: an audit by hand may follow the last one within seconds, where "0 hours" would say nothing. */
function spell(hours: number): string {
  const [unit, amount] =
    hours < 1 / 60 ? ['second', hours * 3600] : hours < 1 ? ['minute', hours * 60] : hours < 48 ? ['hour', hours] : ['day', hours / 24]; // prettier-ignore
  const digits = { maximumFractionDigits: amount < 10 ? 1 : 0 };
  return new Intl.NumberFormat('en-US', { style: 'unit', unit, unitDisplay: 'long', ...digits }).format(amount);
}

function nowFacts(values: NodeValues): Record<string, unknown> {
  const { nf_conntrack_count: count, nf_conntrack_max: max, nf_conntrack_buckets: buckets } = values.settings;
  return {
    ...values.settings,
    ...(count !== undefined && max !== undefined && max > 0 && { fill: count / max }),
    ...(count !== undefined && buckets !== undefined && buckets > 0 && { chain: count / buckets }),
    overlay: overlayFacts(values),
    clockOff: Math.abs(values.clock - values.seen) / 1000,
    // The node says whole seconds, somewhere within the reading.
    clockBlur: 1 + values.took / 1000,
    tracked: values.tracked === undefined ? 'unknown' : values.tracked ? 'yes' : 'no',
    upHours: values.uptime / 3600,
  };
}

/** Bytes that a tunnel adds to a packet, over IPv4. */
const overheads: Record<string, number> = { vxlan: 50, geneve: 50, ipip: 20, gre: 24, wireguard: 60 };

/** The tunnel whose packets overrun the uplink most, as far as both are known. */
function overlayFacts({ links, uplink, missing }: NodeValues): unknown {
  if (missing['links'] !== undefined) return unread(`devices could not be read: ${missing['links']}`);
  const under = links.find(({ name }) => name === uplink);
  const over = ({ mtu, kind }: Link): number => mtu + (overheads[kind] ?? 0) - (under?.mtu ?? 0);
  const tunnels = links.filter(({ kind, up }) => up && Object.hasOwn(overheads, kind));
  const [worst] = tunnels.toSorted((a, b) => over(b) - over(a));
  if (!worst) return { device: '', kind: '', mtu: 0, overrun: 0, uplink, uplinkMtu: under?.mtu ?? 0 };
  if (!under) return unread('there is no default route, so the uplink is not known');
  return { device: worst.name, kind: worst.kind, mtu: worst.mtu, overrun: over(worst), uplink, uplinkMtu: under.mtu };
}

/** When the connection tracking table is full if it goes on as since the previous audit. */
function forecast(before: NodeValues, after: NodeValues, hours: number): unknown {
  const { nf_conntrack_count: count, nf_conntrack_max: max } = after.settings;
  const old = before.settings['nf_conntrack_count'];
  if (count === undefined || max === undefined || old === undefined)
    return unread('the fill of the connection tracking table could not be read');
  const perHour = (count - old) / hours;
  return { perHour, hours: perHour > 0 ? Math.max(0, max - count) / perHour : never, full: perHour > 0 };
}
const never = 1e9;
