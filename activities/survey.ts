import { type End, textOf } from '../domain/cluster-target.ts';
import { frontendsAt } from '../domain/cluster.ts';
import type { Runbook } from '../domain/runbook.ts';
import type { SurveyRow } from '../domain/runs.ts';
import { wilson } from '../domain/statistics.ts';
import { type ClientFlow, clientsOn } from '../nodes/observing/clients.ts';
import { Observer } from '../nodes/observing/observer.ts';
import { type Deps, hopeless } from './deps.ts';
import { configured } from './resolve.ts';

/** So many nodes are asked for clients of the Service. */
const mostNodes = 50;
/** So many places are sent from, to so many endpoints: enough to tell which node or pair loses, in a second or two. */
const mostSenders = 4;
const mostEndpoints = 4;
const datagrams = { count: 40, rate: 400 };

interface Sender {
  end: End;
  node: string;
  stale: boolean;
}

/**
 * Which path of a Service to look at: sends a few datagrams from the nodes of its clients to each of its endpoints, and
 * through its address. Clients are found by the flows that nodes track; where there are none, undrop makes pods to send from.
 * @param run names the pods that are made for it
 * @returns the canonical target of the path that loses most, and what each lost
 */
export async function survey(
  deps: Deps,
  run: string,
  to: End,
  signal: AbortSignal,
): Promise<{ target: string; rows: SurveyRow[] }> {
  const { Reader, podAt, resolvePath, serviceToSurvey } = await import('../cluster/index.ts');
  const cluster = await configured(deps.shells);
  const reader = new Reader(cluster.config);
  const { service, endpoints, nodes } = await serviceToSurvey(reader, to);
  if (nodes.length === 0)
    throw hopeless('no node of the cluster takes pods, so there is nowhere to send from', 'TargetError');
  const alive = service.endpoints.map(({ address }) => address);
  const flows = await Promise.all(
    nodes.slice(0, mostNodes).map(async (node) => {
      // A node that does not answer is named by the diagnosis itself; here it only has no clients.
      const seen = await clientsOn(deps.shells.of(node), frontendsAt(service, node), alive).catch(() => []);
      return seen.toSorted((a, b) => Number(b.stale) - Number(a.stale)).slice(0, 2);
    }),
  );
  const known = await Promise.all(
    first(flows.flat(), 2 * mostSenders).map(async ({ address, stale }): Promise<Sender[]> => {
      const pod = await podAt(reader, address);
      return pod ? [{ ...pod, stale }] : [];
    }),
  );
  const clients = known.flat().toSorted((a, b) => Number(b.stale) - Number(a.stale));
  const senders = onePerNode([...clients, ...own(nodes, endpoints)]).slice(0, mostSenders);
  const targets = endpoints.length ? endpoints.slice(0, mostEndpoints) : [undefined];
  const small = stepOf(deps.runbook, 'small');
  const through = stepOf(deps.runbook, 'service');
  const rows = await Promise.all(
    senders.map(async ({ end, node, stale }, turn): Promise<SurveyRow[]> => {
      const found: SurveyRow[] = [];
      const actual =
        end.kind === 'own' ? await cluster.agents.sender(end.node, run).then(podEnd, asNode(end.node)) : end;
      // What crosses the network comes first, and is looked at where nothing is lost.
      const farFirst = targets.toSorted((a, b) => Number(a?.node === node) - Number(b?.node === node));
      for (const endpoint of farFirst) {
        const wanted: End = { ...to, ...(endpoint && { endpoint: endpoint.pod }) } as End;
        const from = actual.kind === 'node' ? actual : end;
        const row = { target: `${textOf(from)}->${textOf(wanted)}`, stale };
        try {
          const { path } = await resolvePath(reader, actual, wanted);
          const observer = new Observer(deps.shells, path, markOf(run, turn));
          try {
            const direct = endpoint ? await observer.quick({ ...small, ...datagrams }, signal) : { sent: 0, lost: 0 };
            const service = (path.service?.probe ?? 'none') !== 'none' ? await observer.quick({ ...through, ...datagrams }, signal) : { sent: 0, lost: 0 }; // prettier-ignore
            found.push({
              ...row,
              sent: direct.sent,
              lost: direct.lost,
              serviceSent: service.sent,
              serviceLost: service.lost,
            });
          } finally {
            observer.close();
          }
        } catch (error) {
          signal.throwIfAborted();
          const failed = error instanceof Error ? error.message : String(error);
          found.push({ ...row, sent: 0, lost: 0, serviceSent: 0, serviceLost: 0, failed });
        }
      }
      return found;
    }),
  );
  const all = rows.flat();
  const [worst] = all.toSorted((a, b) => score(b) - score(a));
  if (!worst) throw hopeless(`there is no path to ${textOf(to)}`, 'TargetError');
  return { target: worst.target, rows: all };
}

/**
 * The same without sending anything: the path from a client that is known by its flows, one with a stale flow first. Where
 * no node tracks any, it is a node's own: nothing will be seen there, which the conclusion says.
 */
export async function surveyed(deps: Deps, to: End): Promise<{ target: string; rows: SurveyRow[] }> {
  const { Reader, podAt, serviceToSurvey } = await import('../cluster/index.ts');
  const cluster = await configured(deps.shells);
  const reader = new Reader(cluster.config);
  const { service, nodes } = await serviceToSurvey(reader, to);
  const alive = service.endpoints.map(({ address }) => address);
  const silent: SurveyRow[] = [];
  const flows = await Promise.all(
    nodes.slice(0, mostNodes).map(async (node) =>
      clientsOn(deps.shells.existing.of(node), frontendsAt(service, node), alive).catch((error: Error) => {
        silent.push({ ...unsent, target: `node/${node}->${textOf(to)}`, stale: false, failed: error.message });
        return [];
      }),
    ),
  );
  const rows = await Promise.all(
    first(flows.flat(), 2 * mostSenders).map(async ({ address, stale }): Promise<SurveyRow[]> => {
      const pod = await podAt(reader, address);
      return pod ? [{ ...unsent, target: `${textOf(pod.end)}->${textOf(to)}`, stale }] : [];
    }),
  );
  const found = rows.flat().toSorted((a, b) => Number(b.stale) - Number(a.stale));
  const target = found[0]?.target ?? `node/${nodes[0] ?? ''}->${textOf(to)}`;
  return { target, rows: [...found, ...silent] };
}

const unsent = { sent: 0, lost: 0, serviceSent: 0, serviceLost: 0, passive: true as const };

/** Each address once, those with stale flows first: a lookup of each costs the API a look at all pods. */
function first(flows: ClientFlow[], most: number): ClientFlow[] {
  const sorted = flows.toSorted((a, b) => Number(b.stale) - Number(a.stale));
  return [...new Map(sorted.toReversed().map((flow) => [flow.address, flow])).values()].toReversed().slice(0, most);
}

/** Stale flows first, since they move no counter; then what surely loses most; a path between two nodes before one within. */
function score({ stale, sent, lost, serviceSent, serviceLost, failed }: SurveyRow): number {
  const surely = (of: number, count: number): number => (of ? wilson(count, of).low : 0);
  return (
    (stale ? 2 : 0) + Math.max(surely(sent, lost), surely(serviceSent, serviceLost)) - (failed === undefined ? 0 : 0.5)
  );
}

const podEnd = ({ namespace, name }: { namespace: string; name: string }): End => ({ kind: 'pod', namespace, name });
/** Where no pod may be made, the node itself sends: other rules apply to that, which the place's name in the report shows. */
const asNode = (name: string) => (): End => ({ kind: 'node', name });

/** Pods of undrop's own: on a node without an endpoint first, since what it sends crosses the network. */
function own(nodes: string[], endpoints: { node: string }[]): Sender[] {
  const local = new Set(endpoints.map(({ node }) => node));
  return nodes
    .toSorted((a, b) => Number(local.has(a)) - Number(local.has(b)) || a.localeCompare(b))
    .map((node) => ({ end: { kind: 'own', node }, node, stale: false }));
}

function onePerNode(senders: Sender[]): Sender[] {
  return senders.filter(({ node }, index) => senders.findIndex((one) => one.node === node) === index);
}

function stepOf({ methodology }: Runbook, id: string) {
  const step = methodology.steps.find((one) => one.id === id);
  if (!step) throw hopeless(`the runbook has no step ${id}, which surveys send`, 'RunbookChanged');
  return step.probe;
}

const markOf = (run: string, turn: number): string =>
  Buffer.from(`${turn}${run.slice(-7)}`.padStart(8, '0').slice(0, 8)).toString('hex');
