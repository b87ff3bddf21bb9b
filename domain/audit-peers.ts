import type { AuditNode, NodeValues } from './audit.ts';
import type { Expected } from './audit-differences.ts';

/** What most nodes of a group have in common. */
export interface Typical {
  size: number;
  profile: Expected;
}

/** Settings that people and tools set; gauges such as the number of entries differ from moment to moment. */
const compared = [
  'nf_conntrack_max', 'nf_conntrack_buckets', 'nf_conntrack_udp_timeout', 'nf_conntrack_udp_timeout_stream',
  'ipfrag_high_thresh', 'ipfrag_time', 'ip_forward', 'gc_thresh3', 'rp_filter', 'rmem_max', 'rmem_default', 'wmem_max',
  'netdev_max_backlog', 'netdev_budget', 'bridge-nf-call-iptables',
]; // prettier-ignore
/** Features that can lose or slow UDP; a device has sixty, most of them of other protocols. */
const features =
  /^(rx-checksumming|tx-checksumming|tx-checksum-ip-generic|generic-(segmentation|receive)-offload|tx-udp_tnl(-csum)?-segmentation|tx-udp-segmentation|rx-gro-hw|rx-gro-list|rx-udp-gro-forwarding)$/;

const fewest = 3;
/** Two of three alike is a habit; half and half is none. */
const share = 2 / 3;

/** Peers have the same kernel, processor architecture and group. */
export const peerGroupOf = (node: AuditNode, { kernel, arch }: NodeValues): string =>
  [node.group, kernel, arch].join(' ');

/** What is typical of each group, or why that cannot be said. */
export function typicalOf(all: readonly { node: AuditNode; values: NodeValues }[]): Map<string, Typical | string> {
  const groups = new Map<string, NodeValues[]>();
  for (const { node, values } of all) {
    const key = peerGroupOf(node, values);
    const known = groups.get(key) ?? [];
    groups.set(key, known);
    known.push(values);
  }
  return new Map([...groups].map(([key, members]) => [key, typical(members)]));
}

function typical(members: readonly NodeValues[]): Typical | string {
  if (members.length < fewest)
    return `only ${members.length} of ${fewest} nodes with the same kernel, architecture and group: none to compare with`;
  const settings = Object.fromEntries(
    compared.flatMap((name) => common(members.map((one) => one.settings[name])).map((value) => [name, value] as const)),
  );
  const perDevice = (of: (one: NodeValues, device: string) => string | number | undefined, device: string): (string | number)[] =>
    common(members.map((one) => of(one, device)));
  const devices = [...new Set(members.flatMap(({ links }) => links.map(({ name }) => name)))];
  const mtu = Object.fromEntries(
    devices.flatMap((device) => perDevice((one, name) => one.links.find((link) => link.name === name)?.mtu, device).map((value) => [device, value])),
  ) as Record<string, number>;
  const offloads: Record<string, Record<string, 'on' | 'off'>> = {};
  for (const device of new Set(members.flatMap((one) => Object.keys(one.features)))) {
    const names = new Set(members.flatMap((one) => Object.keys(one.features[device] ?? {}).filter((name) => features.test(name))));
    offloads[device] = Object.fromEntries(
      [...names].flatMap((name) =>
        common(members.map((one) => one.features[device]?.[name])).map((on) => [name, on ? 'on' : 'off'] as const),
      ),
    );
  }
  const [mode] = common(members.map(({ plane }) => plane?.mode || undefined));
  const [version] = common(members.map(({ plane }) => plane?.version));
  const kubeProxy = { ...(mode !== undefined && { mode: mode as 'iptables' }), ...(version !== undefined && { version }) };
  return { size: members.length, profile: { settings, mtu, offloads, kubeProxy } };
} // prettier-ignore

/** The value that at least two thirds of all have, as a list of one; else of none. */
function common<T extends string | number | boolean>(values: readonly (T | undefined)[]): T[] {
  const counts = new Map<T, number>();
  for (const value of values) if (value !== undefined) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].filter(([, count]) => count >= share * values.length).map(([value]) => value);
}
