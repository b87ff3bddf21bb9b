import { type Edge, deltaOf } from './evidence.ts';
import { ofFamily } from './facts/way.ts';
import { type FlowLoss, type ProbeResult, type Watched, addProbes, noneWatched, worstFlows } from './probe.ts';
import type { Entry, Sample } from './sample.ts';
import { significant } from './statistics.ts';
import type { Path, Place } from './target.ts';
import { frontendsOf } from './cluster.ts';

/** A flow by its two ends as one place sees them: addresses may be translated on the way, a client's port mostly is not. */
export interface Flow {
  client: string;
  clientPort: number;
  server: string;
  serverPort: number;
}

/** One datagram that a place saw: its flow, the part of the window, and a keyed hash of its payload and length. */
export interface Seen {
  flow: number;
  /** -1: before anything counts. 0: what arrives counts. 1 to n: what is sent counts too. Above: only what arrives. */
  part: number;
  hash: string;
}

/** What one end saw of the target's traffic, in the order in which it came. */
export interface Captured {
  flows: Flow[];
  requests: Seen[];
  replies: Seen[];
  /** Datagrams of which some fragments were missing. */
  incomplete: number;
}

/** What both ends saw of one path. */
export interface Captures {
  sender: Captured;
  /** By name of the place; those that could not be watched are not there. */
  receivers: Record<string, Captured>;
  /** Number of parts in which what is sent counts. */
  parts: number;
}

/** Ports of tunnels: between two nodes their packets are everybody's traffic, and no target. */
const tunnelPorts = new Set([4789, 8472, 6081]);
const enough = 0.8;
const tooMuch = 1.25;

/** Addresses and ports by which the sender reaches the target, for a capture there; port 0: any. */
export function serversFor({ service, places }: Path): [string, number][] {
  const last = places.at(-1);
  if (!service) return last ? [[last.address, 0]] : [];
  // A node port exists on each of a thousand nodes; a sender uses few.
  const all = [...service.endpoints, ...frontendsOf(service).slice(0, 16)];
  return all.slice(0, 64).map(({ address, port }) => [address, port]);
}

/** The target's own addresses and ports at a receiving place. */
export function ownServer({ service }: Path, { address }: Place): [string, number][] {
  if (!service) return [[address, 0]];
  return service.endpoints.flatMap((one): [string, number][] => (one.address === address ? [[address, one.port]] : []));
}

/**
 * Compares what left one end with what came to the other, payload by payload. Equal payloads of a flow are told apart by
 * their number only.
 * @param entries conntrack entries at the beginning: they tell where a flow goes of which nothing arrived
 * @returns one result per part. Requests and replies both count as sent, each in its own direction
 */
export function joinCaptures(
  path: Path,
  { sender, receivers, parts }: Captures,
  entries: readonly Entry[],
): ProbeResult[] {
  const all = Object.values(receivers);
  const translated = translationOf(sender, all);
  const named = (flow: Flow): string => (translated === undefined ? `${flow.client} ${flow.clientPort}` : '');
  const ours = ({ client }: Flow, clients: ReadonlySet<string>): boolean =>
    translated === undefined ? clients.has(client) : client === translated;
  const clients = new Set(sender.flows.map(({ client }) => client));
  const own = all.map((one) => ({
    ...one,
    requests: one.requests.filter(({ flow }) => ours(flowOf(one, flow), clients)),
    replies: one.replies.filter(({ flow }) => ours(flowOf(one, flow), clients)),
  }));
  const there = tally(own.flatMap((one) => one.requests.map((seen) => ({ key: named(flowOf(one, seen.flow)), seen }))));
  const strange = strangeFlows(path, sender);
  const here = tally(
    sender.replies.flatMap((seen) => (strange.has(seen.flow) ? [] : [{ key: named(flowOf(sender, seen.flow)), seen }])),
  );
  const asked = sender.flows.map((): { lost: number[]; sent: number[] } => ({ lost: [], sent: [] }));
  for (const { flow, part, hash } of sender.requests) {
    const counts = asked[flow];
    // Before the first mark the far end's arrivals do not count either.
    if (!counts || part < 0) continue;
    const arrived = there.take(`${named(flowOf(sender, flow))} ${hash}`);
    if (part < 1 || part > parts) continue;
    counts.sent[part] = (counts.sent[part] ?? 0) + 1;
    if (!arrived) counts.lost[part] = (counts.lost[part] ?? 0) + 1;
  }
  const leftOut = flowsElsewhere(path, { sender, receivers, parts }, asked, strange, entries);
  const results = Array.from({ length: parts }, (): Counts => ({ ...noCounts, flows: [], leftOut: {} }));
  sender.flows.forEach((flow, index) => {
    const counts = asked[index];
    const why = leftOut.get(index);
    for (const [chip, result] of results.entries()) {
      const sent = counts?.sent[chip + 1] ?? 0;
      const lost = counts?.lost[chip + 1] ?? 0;
      if (why !== undefined) result.leftOut[why] = (result.leftOut[why] ?? 0) + sent;
      else if (sent > 0) {
        result.requests += sent;
        result.requestLost += lost;
        result.flows.push({ source: flow.client, sourcePort: flow.clientPort, destination: flow.server, destinationPort: flow.serverPort, sent, lost }); // prettier-ignore
      }
    }
  });
  for (const one of own) {
    for (const { part } of one.requests) if (results[part - 1]) at(results, part).arrived++;
    for (const { flow, part, hash } of one.replies) {
      if (part < 0) continue;
      const arrived = here.take(`${named(flowOf(one, flow))} ${hash}`);
      const result = results[part - 1];
      if (!result) continue;
      result.replies++;
      if (!arrived) result.replyLost++;
    }
  }
  for (const { flow, part } of sender.replies) if (strange.has(flow) && results[part - 1]) at(results, part).strange++;
  return results.map(resultOf);
}

interface Counts {
  requests: number;
  requestLost: number;
  arrived: number;
  replies: number;
  replyLost: number;
  strange: number;
  flows: FlowLoss[];
  leftOut: Record<string, number>;
}
const noCounts = { requests: 0, requestLost: 0, arrived: 0, replies: 0, replyLost: 0, strange: 0 };

const at = (results: Counts[], part: number): Counts => {
  const found = results[part - 1];
  if (!found) throw new Error(`there is no part ${part}`);
  return found;
};
const flowOf = (captured: Captured, index: number): Flow => {
  const flow = captured.flows[index];
  if (!flow) throw new Error(`a capture names flow ${index} and has ${captured.flows.length}`);
  return flow;
};

function resultOf({
  requests,
  requestLost,
  arrived,
  replies,
  replyLost,
  strange,
  flows,
  leftOut,
}: Counts): ProbeResult {
  const lost = requestLost + replyLost;
  const watched: Watched = { ...noneWatched, requests, replies, silent: Math.max(0, arrived - replies), leftOut, ...worstFlows(flows) }; // prettier-ignore
  const sent = requests + replies;
  return {
    ...addProbes([]),
    sent,
    answered: sent - lost,
    lost,
    requestLost,
    replyLost,
    oneWay: true,
    strange,
    watched,
  };
}

/** Counts by key, each of which can be taken once. What arrived before anything counts is not in it. */
function tally(arrivals: readonly { key: string; seen: Seen }[]): { take: (key: string) => boolean } {
  const counts = new Map<string, number>();
  for (const { key, seen } of arrivals) {
    if (seen.part < 0) continue;
    const name = `${key} ${seen.hash}`;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return {
    take: (key) => {
      const left = counts.get(key) ?? 0;
      if (left > 0) counts.set(key, left - 1);
      return left > 0;
    },
  };
}

/** The address that the sender's is translated to on the way: the one whose datagrams are most of the sender's. */
function translationOf(sender: Captured, receivers: readonly Captured[]): string | undefined {
  const clients = new Set(sender.flows.map(({ client }) => client));
  const sent = new Set(sender.requests.map(({ hash }) => hash));
  const hits = new Map<string, number>();
  for (const receiver of receivers)
    for (const { flow, hash } of receiver.requests) {
      const { client } = flowOf(receiver, flow);
      if (clients.has(client)) return undefined;
      if (sent.has(hash)) hits.set(client, (hits.get(client) ?? 0) + 1);
    }
  return [...hits].toSorted(([, a], [, b]) => b - a)[0]?.[0];
}

/** Flows of answers that come from an endpoint's own address, where a Service's address was asked: nobody takes those. */
function strangeFlows({ service }: Path, { flows, requests }: Captured): Set<number> {
  if (!service) return new Set();
  const end = ({ client, clientPort, server, serverPort }: Flow): string => `${client} ${clientPort} ${server} ${serverPort}`; // prettier-ignore
  const known = new Set(requests.map(({ flow }) => flow));
  const ports = new Set([...known].map((flow) => `${flows[flow]?.client} ${flows[flow]?.clientPort}`));
  const asked = new Set([...known].flatMap((flow) => (flows[flow] ? [end(flows[flow])] : [])));
  return new Set(
    flows.flatMap((flow, index) =>
      !asked.has(end(flow)) && ports.has(`${flow.client} ${flow.clientPort}`) ? [index] : [],
    ),
  );
}

/**
 * Flows that lead to an endpoint nobody watched: of those nothing arrives here, and nothing is lost by that. Answers show
 * it, or the flow's conntrack entry; a flow of which neither is known is left out as well where such endpoints are.
 */
function flowsElsewhere(
  { service, places }: Path,
  { sender, receivers }: Captures,
  asked: readonly { lost: number[]; sent: number[] }[],
  strange: ReadonlySet<number>,
  entries: readonly Entry[],
): Map<number, string> {
  const watched = new Set(places.flatMap(({ name, address }) => (name in receivers ? [address] : [])));
  const unwatched = service?.endpoints.filter(({ address }) => !watched.has(address)) ?? [];
  const answered = new Set(sender.replies.flatMap(({ flow }) => (strange.has(flow) ? [] : [flow])));
  const sum = (counts: readonly (number | undefined)[]): number =>
    counts.reduce<number>((all, one) => all + (one ?? 0), 0);
  const known = new Map(entries.map((entry) => [`${entry.source} ${entry.sourcePort} ${entry.destination} ${entry.destinationPort}`, entry])); // prettier-ignore
  const found = new Map<number, string>();
  sender.flows.forEach((flow, index) => {
    const { sent = [], lost = [] } = asked[index] ?? {};
    if (tunnelPorts.has(flow.serverPort) && !service) found.set(index, 'of tunnels');
    if (sum(sent) === 0 || sum(lost) < sum(sent)) return;
    if (answered.has(index)) found.set(index, 'answered by what is not watched');
    else if (unwatched.length > 0) {
      const entry = known.get(`${flow.client} ${flow.clientPort} ${flow.server} ${flow.serverPort}`);
      const to = entry?.replySource ?? (unwatched.some(({ address }) => address === flow.server) ? flow.server : undefined); // prettier-ignore
      if (to === undefined || unwatched.some(({ address }) => address === to))
        found.set(index, 'to endpoints that are not watched, as far as is known');
    }
  });
  return found;
}

/**
 * Datagrams that came to a receiver's interface and drew no answer were lost there where the receiver counts as many
 * drops. Otherwise the application took them, and an application need not answer.
 */
export function withUnread(path: Path, probes: readonly ProbeResult[], before: Edge, after: Edge): ProbeResult[] {
  const silent = addProbes(probes).watched?.silent ?? 0;
  if (!significant(silent) || !countedThere(path, before, after).some((count) => count >= enough * silent && count <= tooMuch * silent)) return [...probes]; // prettier-ignore
  return probes.map((probe) => {
    const unread = probe.watched?.silent ?? 0;
    return {
      ...probe,
      answered: probe.answered - unread,
      lost: probe.lost + unread,
      requestLost: probe.requestLost + unread,
      watched: { ...(probe.watched ?? noneWatched), silent: 0, unread },
    };
  });
}

/** What the receivers count as dropped behind their interface, by each way to drop there. */
function countedThere(path: Path, before: Edge, after: Edge): number[] {
  const deltas = path.places.flatMap(({ role, name }) => {
    const [old, now] = [before.samples[name], after.samples[name]];
    const delta = role === 'receiver' && old && now ? deltaOf(old, now) : undefined;
    return delta && !('void' in delta) && now ? [{ now, delta: { ...delta, counters: ofFamily(path, delta.counters) } }] : []; // prettier-ignore
  });
  const sum = (name: string): number => deltas.reduce((all, { delta }) => all + (delta.counters[name] ?? 0), 0);
  const [errors, noPort] = [sum('UdpInErrors'), sum('UdpNoPorts')];
  const drops = ({ rules }: Sample): string[] =>
    rules.flatMap(({ id, verdict, protocol }) => (protocol === 'udp' && (verdict === 'drop' || verdict === 'reject') ? [id] : [])); // prettier-ignore
  const rules = deltas.flatMap(({ now, delta }) => drops(now).map((id) => delta.rules[id] ?? 0));
  return [errors, noPort, errors + noPort, sum('TcpExtIPReversePathFilter'), sum('IpInDiscards'), ...rules];
}
