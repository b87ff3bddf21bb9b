import { type Delta, type Evidence, type Window, beyondControl, passiveStep, ruleParts } from '../evidence.ts';
import type { Rule, Sample } from '../sample.ts';
import type { Path, Place } from '../target.ts';
import { unread } from './unread.ts';

/**
 * Which rule, device or socket a fact speaks of. It is chosen once, by what moved beyond the control window, and then looked
 * at in every other window too: else a busy bystander would stand for the guilty one.
 */
export type Focus = Record<'dropRule' | 'invalidRule' | 'fragmentRule' | 'qdisc' | 'link' | 'socket', string>;

const loses = (rule: Rule): boolean => rule.verdict === 'drop' || rule.verdict === 'reject';
const wanted = {
  dropRule: (rule: Rule) => loses(rule) && rule.protocol === 'udp' && !rule.invalid && !rule.fragments,
  invalidRule: (rule: Rule) => loses(rule) && rule.invalid,
  fragmentRule: (rule: Rule) => loses(rule) && rule.fragments,
};

const qdiscDrops = /^qdisc\.(.*)\.(\w+)\.dropped$/;
/** The sending end's count: the receiving end of a veth pair counts the same frames again. */
const linkDrops = /^link\.(.*)\.tx_dropped$/;

/** Steps whose datagrams go to the application's own socket, not to undrop's listener. */
const toApplication = new Set([
  'service',
  'nodeport',
  'endpoint',
  'flow',
  'hostport',
  'oneway',
  'oneway-nodeport',
  'pinned',
  'others',
  passiveStep,
]);

/** Chooses, for one place and window, what moved most beyond what the control window moved in the same time. */
export function focusOf(evidence: Evidence, window: Window, place: Place): Focus {
  const after = window.after.samples[place.name];
  const extra = beyondControl(evidence, window, place.name);
  const rank = window.step === passiveStep ? nearest(window) : (count: number): number => count;
  const most = (moved: Record<string, number>, fits: (name: string) => boolean): string => {
    const [top] = Object.entries(moved)
      .filter(([name, count]) => count > 0 && fits(name))
      .toSorted(([, a], [, b]) => rank(b) - rank(a));
    return top?.[0] ?? '';
  };
  const rule = (fits: (rule: Rule) => boolean): string =>
    most(extra.rules, (id) => after?.rules.some((one) => one.id === id && fits(one)) === true);
  return {
    dropRule: rule(wanted.dropRule),
    invalidRule: rule(wanted.invalidRule),
    fragmentRule: rule(wanted.fragmentRule),
    qdisc: most(extra.devices, (name) => qdiscDrops.test(name)),
    link: most(extra.devices, (name) => linkDrops.test(name)),
    socket:
      most(extra.sockets, (inode) => isTarget(evidence, window, after, inode)) || quietTarget(evidence, window, after),
  };
}

/** Without a quiet window the busiest may be a bystander: what comes nearest to one of the losses stands out instead. */
function nearest({ probe }: Window): (count: number) => number {
  const losses = [probe?.lost, probe?.requestLost, probe?.replyLost].filter((lost) => lost !== undefined && lost > 0);
  return (count) =>
    -Math.min(...losses.map((lost) => Math.abs(count - (lost ?? 0))), ...(losses.length ? [] : [-count]));
}

/** The application's ports, where the target tells them. */
const portsOf = ({ service, hostPorts = [] }: Path): number[] =>
  [...(service?.endpoints ?? []), ...hostPorts.flatMap(({ owners }) => owners)].map(({ port }) => port);

/** Only the socket on the application's port can have lost what was sent there. */
function isTarget({ path }: Evidence, { step }: Window, after: Sample | undefined, inode: string): boolean {
  const ports = portsOf(path);
  if ((!path.service && ports.length === 0) || !toApplication.has(step)) return true;
  const port = after?.sockets.find((socket) => String(socket.inode) === inode)?.port;
  return port !== undefined && ports.includes(port);
}

/** The application's socket where none has dropped anything: that it was seen, and stood still, is knowledge as well. */
function quietTarget(evidence: Evidence, window: Window, after: Sample | undefined): string {
  const { path } = evidence;
  if ((!path.service && portsOf(path).length === 0) || !toApplication.has(window.step)) return '';
  const target = after?.sockets.find(({ inode }) => isTarget(evidence, window, after, String(inode)));
  return target ? String(target.inode) : '';
}

/** The facts of what was chosen; a part that could not be read says so to whoever asks. */
export function movedFacts(
  after: Sample,
  delta: Delta,
  focus: Focus,
  links: Sample['links'],
): Record<keyof Focus | 'rules', unknown> {
  const { missing, cut } = delta.unread ?? { missing: {}, cut: [] };
  const ruleFacts = (key: keyof typeof wanted): unknown => {
    if (noRules(missing)) return unread(noRules(missing));
    const packets = delta.rules[focus[key]];
    const remade = delta.remade?.rules.find(wanted[key]);
    if (packets === undefined && remade) return unread(`the rule ${remade.text} was made anew in this window`);
    const text = after.rules.find(({ id }) => id === focus[key])?.text ?? '';
    return { packets: packets ?? 0, text, by: writerOf(text), forwards: forwards.test(text) };
  };
  const device = (key: 'qdisc' | 'link', part: string, pattern: RegExp): unknown => {
    const dropped = delta.devices[focus[key]];
    const why = missing[part] ?? (cut.includes(part) ? 'the list was cut' : undefined);
    if (dropped === undefined && why !== undefined)
      return unread(`dropped packets of devices could not be read: ${why}`);
    const remade = delta.remade?.devices.find((name) => pattern.test(name));
    if (dropped === undefined && remade !== undefined) return unread(`${remade} was made anew in this window`);
    const [, name = '', kind = ''] = pattern.exec(focus[key]) ?? [];
    const overlay = links.some((link) => link.name === name && link.kind === 'vxlan');
    return { dropped: dropped ?? 0, device: name, kind, overlay };
  };
  const socket = after.sockets.find(({ inode }) => String(inode) === focus.socket);
  const drops = delta.sockets[focus.socket];
  const unlisted = drops === undefined ? noSockets(missing, cut) : '';
  return {
    dropRule: ruleFacts('dropRule'),
    invalidRule: ruleFacts('invalidRule'),
    fragmentRule: ruleFacts('fragmentRule'),
    rules: unseenRules(after, missing, cut),
    qdisc: device('qdisc', 'qdisc', qdiscDrops),
    link: device('link', 'dev', linkDrops),
    socket: unlisted ? unread(unlisted) : { drops: drops ?? 0, port: String(socket?.port ?? '') },
  };
}

/** Chains and tables by which network policies are enforced: Calico, kube-router, Weave, Antrea, Azure, Cilium. */
const policies = /\b(cali-|KUBE-NWPLCY|KUBE-POD-FW|WEAVE-NPC|ANTREA-POL|AZURE-NPM|CILIUM_|kube-network-policies)/;
/** The chain of what a node forwards, its policy, or a firewall's own chain beside it. */
const forwards = /^((legacy )?filter: (policy of FORWARD DROP|-A \S*FORWARD\S* )|nft \S+ \S+ \S*forward)/i;
const kubeProxy = /-A KUBE-|\bkube-proxy\b/;

/** Who writes such a rule, by the names of its chains: network policies, kube-proxy, or somebody else. */
function writerOf(text: string): 'policy' | 'kube-proxy' | 'somebody' {
  if (policies.test(text)) return 'policy';
  return kubeProxy.test(text) ? 'kube-proxy' : 'somebody';
}

function noRules({ iptables, nft }: Sample['missing']): string {
  return iptables !== undefined && nft !== undefined ? `no rule could be read: ${iptables}; ${nft}` : '';
}

/** Why a socket that is not in the list may be there all the same. */
function noSockets(missing: Sample['missing'], cut: Sample['cut']): string {
  for (const part of ['udp', 'udp6']) {
    const why = missing[part];
    // Where the file does not exist, this kernel has no such sockets.
    if (why !== undefined && !why.startsWith('no /')) return `sockets could not be read: ${why}`;
    if (cut.includes(part)) return 'the list of sockets was cut before this one';
  }
  return '';
}

/** Whether every rule that drops was seen with its counter, and if not, why: what was not counted is not innocent. */
function unseenRules(
  after: Sample,
  missing: Sample['missing'],
  cut: Sample['cut'],
): { complete: boolean; why: string } {
  // Those of kube-proxy have no counter in its nftables mode; whether they are right is judged by where they lead.
  const uncounted = after.rules.filter(
    (rule) => wanted.dropRule(rule) && rule.packets === null && writerOf(rule.text) !== 'kube-proxy',
  );
  const { iptables, nft, legacy } = missing;
  // Without the program there may be no such rules; nft would show them where they are of its kind.
  const failed = iptables !== undefined && !iptables.startsWith('no program ');
  const why = [
    ...(failed ? [`rules of iptables could not be read (${iptables})`] : []),
    ...(nft === undefined ? [] : [`rules of nftables could not be read (${nft})`]),
    ...(legacy === undefined ? [] : [`there are tables of the old iptables, which could not be read (${legacy})`]),
    ...cut.filter((part) => ruleParts.includes(part)).map((part) => `the rules of ${part} were cut`),
    ...(uncounted[0] ? [`${uncounted.length} that drop have no counter, such as ${uncounted[0].text}`] : []),
  ];
  return { complete: why.length === 0, why: why.join('; ') };
}

/** Packets that the sending end of any device of this place dropped, the busiest one's. */
export const mostLinkDrops = ({ devices }: Delta): number =>
  Math.max(0, ...Object.entries(devices).flatMap(([name, count]) => (linkDrops.test(name) ? [count] : [])));
