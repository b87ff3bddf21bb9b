import { type Captured, type Captures, type Flow, flowOf } from './captures.ts';
import { type Edge, deltaOf } from './evidence.ts';
import { ofFamily } from './facts/way.ts';
import { type Mark, matched, translationOf, windowsOf } from './matching.ts';
import { type ProbeResult, addProbes } from './probe-result.ts';
import { type FlowLoss, type Watched, noneWatched, worstFlows } from './watched.ts';
import type { Entry, Sample } from './sample.ts';
import { significant } from './statistics.ts';
import type { Path } from './target.ts';

/** Ports of tunnels: between two nodes their packets are everybody's traffic, and no target. */
const tunnelPorts = new Set([4789, 8472, 6081]);
const enough = 0.8;
const tooMuch = 1.25;

/** Requests of one flow in one window. */
interface FlowCounts {
  sent: number[];
  lost: number[];
}

/**
 * Compares what left one end with what came to the other, payload by payload. Equal payloads of a flow are told apart by
 * their number only.
 * @param entries conntrack entries at the beginning: they tell where a flow goes of which nothing arrived
 * @returns one result per window. Requests and replies both count as sent, each in its own direction
 */
export function joinCaptures(path: Path, captures: Captures, entries: readonly Entry[]): ProbeResult[] {
  const { sender, receivers, windows } = captures;
  const all = Object.values(receivers);
  const translated = translationOf(sender, all);
  const clients = new Set(sender.flows.map(({ client }) => client));
  const ours = ({ client }: Flow): boolean => (translated === undefined ? clients.has(client) : client === translated);
  const marked = (captured: Captured, what: 'requests' | 'replies'): Mark[] =>
    captured[what].map(({ flow, part, hash }) => {
      const { client, clientPort } = flowOf(captured, flow);
      return { key: translated === undefined ? `${client} ${clientPort} ${hash}` : hash, part };
    });
  const own = all.map((one) => ({
    ...one,
    requests: one.requests.filter(({ flow }) => ours(flowOf(one, flow))),
    replies: one.replies.filter(({ flow }) => ours(flowOf(one, flow))),
  }));
  const strange = strangeFlows(path, sender);
  const taken = { ...sender, replies: sender.replies.filter(({ flow }) => !strange.has(flow)) };
  const results = Array.from({ length: windows }, newCounts);

  const asked = sender.flows.map((): FlowCounts => ({ sent: [], lost: [] }));
  const arrived = matched(marked(sender, 'requests'), own.flatMap((one) => marked(one, 'requests'))); // prettier-ignore
  for (const [index, { window, edge }] of windowsOf(sender.requests, windows).entries()) {
    const lost = arrived[index] ? 0 : 1;
    const counts = asked[sender.requests[index]?.flow ?? -1];
    if (edge) addSlack(results, lost);
    if (window < 0 || !counts) continue;
    counts.sent[window] = (counts.sent[window] ?? 0) + 1;
    counts.lost[window] = (counts.lost[window] ?? 0) + lost;
  }
  const elsewhere = flowsElsewhere(path, captures, asked, strange, entries);
  sender.flows.forEach((flow, index) => {
    for (const [window, result] of results.entries())
      addFlow(result, flow, asked[index]?.sent[window] ?? 0, asked[index]?.lost[window] ?? 0, elsewhere.get(index));
  });

  const returned = matched(own.flatMap((one) => marked(one, 'replies')), marked(taken, 'replies')); // prettier-ignore
  const replied = own.flatMap((one) => windowsOf(one.replies, windows));
  for (const [index, { window, edge }] of replied.entries()) {
    const lost = returned[index] ? 0 : 1;
    if (edge) addSlack(results, lost);
    const result = results[window];
    if (!result) continue;
    result.replies++;
    result.replyLost += lost;
  }
  for (const { window } of own.flatMap((one) => windowsOf(one.requests, windows))) {
    const result = results[window];
    if (result) result.arrived++;
  }
  const odd = sender.replies.filter(({ flow }) => strange.has(flow));
  for (const { window } of windowsOf(odd, windows)) {
    const result = results[window];
    if (result) result.strange++;
  }
  return results.map(resultOf);
}

const newCounts = () => ({
  requests: 0,
  requestLost: 0,
  arrived: 0,
  replies: 0,
  replyLost: 0,
  strange: 0,
  slack: 0,
  flows: [] as FlowLoss[],
  leftOut: {} as Record<string, number>,
});
type Counts = ReturnType<typeof newCounts>;

/** What was lost at the first or last edge belongs to no window; how much it was is kept with the first one. */
function addSlack([first]: Counts[], lost: number): void {
  if (first) first.slack += lost;
}

function addFlow(result: Counts, flow: Flow, sent: number, lost: number, leftOut: string | undefined): void {
  if (sent === 0) return;
  if (leftOut !== undefined) {
    result.leftOut[leftOut] = (result.leftOut[leftOut] ?? 0) + sent;
    return;
  }
  const { client, clientPort, server, serverPort } = flow;
  const ends = { source: client, sourcePort: clientPort, destination: server, destinationPort: serverPort };
  result.requests += sent;
  result.requestLost += lost;
  result.flows.push({ ...ends, sent, lost });
}

function resultOf(counts: Counts): ProbeResult {
  const { requests, requestLost, arrived, replies, replyLost, strange, slack, flows, leftOut } = counts;
  const lost = requestLost + replyLost;
  const silent = Math.max(0, arrived - replies);
  const watched: Watched = { ...noneWatched, requests, replies, silent, slack, leftOut, ...worstFlows(flows) };
  const sent = requests + replies;
  const seen = { sent, answered: sent - lost, lost, requestLost, replyLost, oneWay: true, strange, watched };
  return { ...addProbes([]), ...seen };
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
  asked: readonly FlowCounts[],
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
