import type { Evidence } from '../evidence.ts';

/** Thrown where a window says nothing about a place; the message is the reason for `untested`. */
export class Unseen extends Error {}

/** A fact that could not be read: whoever asks for any of it learns why. Never a zero. */
export function unread(why: string): never {
  // One for all who ask: an audit asks for thousands, and an error costs as much as a check.
  let error: Unseen | undefined;
  return new Proxy(
    {},
    {
      get: () => {
        error ??= new Unseen(why);
        throw error;
      },
    },
  ) as never;
}

const partOf: [RegExp, string][] = [
  [/^conntrack_/, 'conntrack'],
  [/^neigh_/, 'arp'],
  [/^softnet_/, 'softnet'],
  [/^cpu_/, 'cpu'],
  [/^(Udp|Ip|Icmp)6/, 'snmp6'],
  [/^(TcpExt|IpExt)/, 'netstat'],
  [/^(Udp|Ip|Icmp)/, 'snmp'],
];

/** Why a counter or setting is not there: the part of the sample that could not be read, or this kernel. */
export function whyMissing(evidence: Evidence, place: string, key: string): string {
  const part = partOf.find(([pattern]) => pattern.test(key))?.[1] ?? 'sysctls';
  const why = evidence.windows.at(-1)?.after.samples[place]?.missing[part];
  return `${key} could not be read here${why ? `: ${why}` : ' (not on this kernel or namespace)'}`;
}
