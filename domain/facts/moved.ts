import { type Delta, type Evidence, type Window, beyondControl } from '../evidence.ts';
import type { Rule, Sample } from '../sample.ts';
import type { Place } from '../target.ts';
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
const toApplication = new Set(['service', 'endpoint', 'flow']);

/** Chooses, for one place and window, what moved most beyond what the control window moved in the same time. */
export function focusOf(evidence: Evidence, window: Window, place: Place): Focus {
  const after = window.after.samples[place.name];
  const extra = beyondControl(evidence, window, place.name);
  const most = (moved: Record<string, number>, fits: (name: string) => boolean): string => {
    const [top] = Object.entries(moved)
      .filter(([name, count]) => count > 0 && fits(name))
      .toSorted(([, a], [, b]) => b - a);
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
    socket: most(extra.sockets, (inode) => isTarget(evidence, window, after, inode)),
  };
}

/** Only the socket on the Service's port can have lost what was sent there. */
function isTarget({ path }: Evidence, { step }: Window, after: Sample | undefined, inode: string): boolean {
  if (!path.service || !toApplication.has(step)) return true;
  const port = after?.sockets.find((socket) => String(socket.inode) === inode)?.port;
  return path.service.endpoints.some((endpoint) => endpoint.port === port);
}

/** The facts of what was chosen; a part that could not be read says so to whoever asks. */
export function movedFacts(after: Sample, delta: Delta, focus: Focus): Record<keyof Focus | 'rules', unknown> {
  const ruleFacts = (key: 'dropRule' | 'invalidRule' | 'fragmentRule'): unknown => {
    if (noRules(after)) return unread(noRules(after));
    const rule = after.rules.find(({ id }) => id === focus[key]);
    return { packets: delta.rules[focus[key]] ?? 0, text: rule?.text ?? '' };
  };
  const device = (key: 'qdisc' | 'link', part: string, pattern: RegExp): unknown => {
    const why = after.missing[part];
    if (why !== undefined) return unread(`dropped packets of devices could not be read: ${why}`);
    const [, name = '', kind = ''] = pattern.exec(focus[key]) ?? [];
    return { dropped: delta.devices[focus[key]] ?? 0, device: name, kind };
  };
  const socket = after.sockets.find(({ inode }) => String(inode) === focus.socket);
  return {
    dropRule: ruleFacts('dropRule'),
    invalidRule: ruleFacts('invalidRule'),
    fragmentRule: ruleFacts('fragmentRule'),
    rules: unseenRules(after),
    qdisc: device('qdisc', 'qdisc', qdiscDrops),
    link: device('link', 'dev', linkDrops),
    socket: { drops: delta.sockets[focus.socket] ?? 0, port: String(socket?.port ?? ''), queued: socket?.queued ?? 0 },
  };
}

function noRules({ missing }: Sample): string {
  const { iptables, nft } = missing;
  return iptables !== undefined && nft !== undefined ? `no rule could be read: ${iptables}; ${nft}` : '';
}

/** Whether every rule that drops was seen with its counter, and if not, why: what was not counted is not innocent. */
function unseenRules(after: Sample): { complete: boolean; why: string } {
  const uncounted = after.rules.filter((rule) => wanted.dropRule(rule) && rule.packets === null);
  const why = [
    ...(after.missing['nft'] === undefined ? [] : [`rules of nftables could not be read (${after.missing['nft']})`]),
    ...after.cut.filter((part) => part === 'iptables' || part === 'nft').map((part) => `the rules of ${part} were cut`),
    ...(uncounted[0] ? [`${uncounted.length} that drop have no counter, such as ${uncounted[0].text}`] : []),
  ];
  return { complete: why.length === 0, why: why.join('; ') };
}

/** Packets that the sending end of any device of this place dropped, the busiest one's. */
export const mostLinkDrops = ({ devices }: Delta): number =>
  Math.max(0, ...Object.entries(devices).flatMap(([name, count]) => (linkDrops.test(name) ? [count] : [])));
