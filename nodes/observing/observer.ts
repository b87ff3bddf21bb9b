import { setTimeout as sleep } from 'node:timers/promises';
import { type ClusterView, type Plane, frontendsAt } from '../../domain/cluster.ts';
import type { Edge, Evidence } from '../../domain/evidence.ts';
import { defaultZone } from '../../domain/inventory.ts';
import { endpointsByAffinity } from '../../domain/facts/affinity.ts';
import { senderMtu } from '../../domain/facts/sizes.ts';
import { type Probe, sweepSizes } from '../../domain/probe.ts';
import { type ProbeResult, addProbes, joinProbe, joinSilent } from '../../domain/probe-result.ts';
import type { Step } from '../../domain/runbook.ts';
import { probedFlow } from '../../domain/facts/stale.ts';
import type { Entry } from '../../domain/sample.ts';
import { type Path, type Place, receiverOf } from '../../domain/target.ts';
import { Prober, type SendOrder } from '../probing/prober.ts';
import { readPlane } from '../sampling/plane.ts';
import { takeSample } from '../sampling/sample.ts';
import { located } from '../shells/locate.ts';
import type { ShellPool } from '../shells/pool.ts';

/** How long answers may take after the last datagram: more than any round trip worth waiting for. */
const answerMs = 400;
/** A prober that nobody asks ends itself after this time, so that a killed worker leaves nothing on a node. */
const proberLifeMs = 180_000;
/** What a step may take beyond its sending: round trips to both ends, samples of slow nodes. */
const aroundMs = 30_000;

/** A place that was silent so often is not waited for again: each time costs the run seconds. */
const patience = 2;

/** A DNS server is everybody's: it gets no more queries of undrop's a second, nor longer ones than those of old may be. */
const mostQueries = 500;
const longestQuery = 512;

/** Two senders meet so often, until so many of their datagrams have collided. */
const mostRounds = 4;
const enoughCollisions = 30;

/** So many endpoints are asked by themselves. */
const mostEndpoints = 4;

/** What a step adds to the evidence. */
export interface Part {
  step: string;
  after: Edge;
  probe?: ProbeResult;
  chip?: number;
}

/** Sees one path: samples its places and sends probes over it. Keeps its probers open from step to step. */
export class Observer {
  private readonly shells: Pick<ShellPool, 'of'>;
  private readonly path: Path;
  private readonly run: string;
  private readonly probers = new Map<string, Prober>();
  private group = 0;
  /** Why a place is not asked again: it did not answer at first, or twice in a row later. */
  private readonly silent = new Map<string, { times: number; why: string }>();

  /** Pods' places with a process of theirs, found once a run. */
  private readonly found = new Map<string, Promise<Place>>();

  /** @param run 16 hex digits that mark this run's datagrams */
  constructor(shells: Pick<ShellPool, 'of'>, path: Path, run: string) {
    this.shells = shells;
    this.path = path;
    this.run = run;
  }

  /** Samples all places at the same time. A place that cannot be read is named, and holds up no other. */
  async edge(mode: 'full' | 'light', signal?: AbortSignal): Promise<Edge> {
    const edge: Edge = { at: Date.now(), samples: {}, failed: {} };
    const { places } = this.path;
    const ends = places.flatMap((place) => (place.role === 'hop' ? [] : [place.address, place.nodeAddress]));
    const reading = {
      mode,
      routes: [...new Set(ends)],
      ...(signal && { signal }),
    };
    await Promise.all(
      this.path.places.map(async (place) => {
        const { times, why } = this.silent.get(place.name) ?? { times: 0, why: '' };
        if (times >= patience) {
          edge.failed[place.name] = why;
          return;
        }
        try {
          edge.samples[place.name] = await takeSample(this.shells.of(place.node), await this.at(place), {
            ...reading,
            flowsTo: this.flowsTo(place.node),
          });
          this.silent.delete(place.name);
        } catch (error) {
          const told = error instanceof Error ? error.message : String(error);
          edge.failed[place.name] = told;
          // Without a full sample at the start nothing of this place can be judged in this run.
          this.silent.set(place.name, { times: mode === 'full' ? patience : times + 1, why: told });
        }
      }),
    );
    return edge;
  }

  /** The first edge of a run. @param cluster what the API says of the target; then kube-proxy on the nodes is asked too */
  async begin(cluster?: ClusterView, signal?: AbortSignal): Promise<Edge> {
    const edge = await this.edge('full', signal);
    return cluster ? { ...edge, cluster, planes: await this.planes() } : edge;
  }

  /** The sample after a step. A flow to a Service with session affinity binds its client, so whom to is read again. */
  private async after({ probe }: Step, { windows }: Evidence, signal?: AbortSignal): Promise<Edge> {
    const edge = await this.edge('light', signal);
    if (probe.route !== 'service' || windows[0]?.before.cluster?.service?.affinity !== 'ClientIP') return edge;
    return { ...edge, planes: await this.planes(this.path.places[0]?.node) };
  }

  /** kube-proxy on each node of a cluster's path that answers, or on one. Why one could not be read is in its `missing`. */
  private async planes(only?: string): Promise<Record<string, Plane>> {
    const { places } = this.path;
    const addressesAt = (node: string): string[] => this.flowsTo(node).map(({ address, port }) => `${address}:${port}`);
    const nodes = places.filter(
      (place) =>
        place.uid !== undefined && place.address === place.nodeAddress && (only === undefined || place.node === only),
    );
    const read = nodes.map(async ({ name, node }): Promise<[string, Plane]> => {
      const unread = (why: unknown): Plane => ({ mode: '', health: '', missing: { all: String(why) } });
      if ((this.silent.get(name)?.times ?? 0) >= patience) return [name, unread(this.silent.get(name)?.why)];
      return [
        name,
        await readPlane(this.shells.of(node), node, addressesAt(node), places[0]?.address ?? '').catch((error: Error) =>
          unread(error.message),
        ),
      ];
    });
    return Object.fromEntries(await Promise.all(read));
  }

  /** Where a node translates what is sent to the target: addresses and ports of its Service, and its host ports there. */
  private flowsTo(node: string): { address: string; port: number }[] {
    const { service, hostPorts = [] } = this.path;
    const ports = hostPorts.filter((one) => one.node === node);
    return [
      ...(service ? frontendsAt(service, node) : []),
      ...ports.flatMap(({ addresses, port }) => addresses.map((address) => ({ address, port }))),
    ];
  }

  private async at(place: Place): Promise<Place> {
    let found = this.found.get(place.name);
    if (!found) {
      found = located(this.shells.of(place.node), place);
      this.found.set(place.name, found);
      found.catch(() => this.found.delete(place.name));
    }
    return found;
  }

  /** The control window: nothing is sent, so that what moves anyway is known. */
  async control(windowMs: number, signal?: AbortSignal): Promise<Part> {
    await sleep(windowMs, undefined, signal ? { signal } : {});
    return { step: 'control', after: await this.edge('light', signal) };
  }

  /**
   * After a step that failed, or was begun by another attempt: what it sent unseen must not be in the next step's window.
   * Keep it as a part like any other. Probers that may still be sending end.
   */
  async between(signal?: AbortSignal): Promise<Part> {
    this.close();
    return { step: 'between', after: await this.edge('light', signal) };
  }

  /**
   * Takes one step: sends its probe and samples afterwards. A coded step gives one part per chip.
   * @throws Error when a probe cannot be sent at all, naming the place and what is missing there
   */
  async take(step: Step, evidence: Evidence, signal?: AbortSignal): Promise<Part[]> {
    const { probe } = step;
    if (probe.chips === undefined) {
      const result = await this.send(probe, evidence, signal);
      return [{ step: step.id, probe: result, after: await this.after(step, evidence, signal) }];
    }
    const parts: Part[] = [];
    for (const [chip, on] of balancedCode(probe.chips).entries()) {
      const length = (probe.count * 1000) / Math.max(1, probe.rate) + answerMs;
      const started = Date.now();
      const result = on ? await this.send(probe, evidence, signal) : addProbes([]);
      // Every chip is equally long, so that background traffic moves a counter equally in each.
      await sleep(Math.max(0, length - (Date.now() - started)), undefined, signal ? { signal } : {});
      parts.push({ step: step.id, chip, probe: result, after: await this.edge('light', signal) });
    }
    return parts;
  }

  /** Sends a probe without looking at any place: to choose a path by. @throws Error when it cannot be sent */
  async quick(probe: Probe, signal?: AbortSignal): Promise<ProbeResult> {
    return this.send(probe, { path: this.path, windows: [] }, signal);
  }

  close(): void {
    for (const prober of this.probers.values()) prober.close();
    this.probers.clear();
  }

  private async send(probe: Probe, evidence: Evidence, signal?: AbortSignal): Promise<ProbeResult> {
    const [first] = this.path.places;
    const own = probe.route === 'path' || probe.route === 'reverse';
    // Without an endpoint there is nowhere to listen; the Service's address can be asked all the same.
    const last = receiverOf(this.path) ?? (own || probe.route === 'endpoint' ? undefined : first);
    if (!first || !last) throw new Error('the path has no receiving end');
    const [from, to] = probe.route === 'reverse' ? [last, first] : [first, last];
    const sizes = this.sizes(probe, evidence, to);
    const { service } = this.path;
    const dns = !own && service?.probe === 'dns';
    if (dns && Math.max(...sizes) > longestQuery)
      throw new Error(`a DNS server reads no query beyond ${longestQuery} bytes`);
    const rate = dns ? Math.min(probe.rate || mostQueries, mostQueries) : probe.rate;
    const needMs = (probe.count * sizes.length * 1000) / (rate || Infinity) + answerMs + aroundMs;
    const listener = own ? await this.listener(to, needMs) : undefined;
    const order: SendOrder = {
      group: (this.group += 2),
      ...this.destination(probe, evidence, to, listener?.port ?? 0),
      sizes,
      count: probe.count,
      rate,
      waitMs: answerMs,
      source: probe.source,
      perPort: probe.perPort,
      df: probe.df,
      checksum: probe.checksum,
      ...(dns && { zone: service.zone ?? defaultZone }),
      ...(probe.route === 'flow' && { tuple: tupleOf(staleFlow(evidence)) }),
    };
    if (probe.silent) return this.sendUnanswered(order, first, needMs, signal);
    if (probe.route === 'pinned' || probe.route === 'others') {
      const asked: ProbeResult[] = [];
      for (const { address, port } of endpointsByAffinity(evidence, probe.route).slice(0, mostEndpoints)) {
        const sender = await this.prober(from, needMs);
        asked.push(joinProbe(await sender.send({ ...order, group: (this.group += 2), address, port }, signal)));
      }
      return addProbes(asked);
    }
    if (probe.withPeer) {
      const rounds: ProbeResult[] = [];
      // A race is won by chance: of 6,000 datagrams between 3 and 700 collided on a quiet machine with two CPUs.
      while (rounds.length < mostRounds && addProbes(rounds).lost < enoughCollisions) {
        const group = rounds.length === 0 ? order.group : (this.group += 2);
        const firstPort = 20_000 + 9_000 * rounds.length + Math.floor(Math.random() * 9_000);
        rounds.push(await this.sendTogether({ ...order, group, firstPort }, from, needMs, listener, signal));
      }
      return addProbes(rounds);
    }
    const sender = await this.prober(from, needMs);
    const sent = await sender.send(order, signal);
    return joinProbe(sent, await listener?.report(order.group));
  }

  /** Sends to an application that answers nothing, and counts what comes into the namespace of each endpoint. */
  private async sendUnanswered(
    order: SendOrder,
    from: Place,
    needMs: number,
    signal?: AbortSignal,
  ): Promise<ProbeResult> {
    const endpoints = this.path.service?.endpoints ?? [];
    if (order.address.includes(':')) throw new Error('arrivals of IPv6 are not recorded');
    const watched = await Promise.all(
      endpoints.map(async ({ address, port }): Promise<Prober> => {
        const place = this.path.places.find((one) => one.role === 'receiver' && one.address === address);
        // On its node's own network a datagram comes in before the node's rules have seen it.
        if (!place || place.address === place.nodeAddress)
          throw new Error(`what arrives at the endpoint ${address} cannot be recorded: it is no pod that is looked at`);
        const prober = await this.prober(place, needMs);
        await prober.watch(port);
        return prober;
      }),
    );
    const sender = await this.prober(from, needMs);
    const sent = await sender.send(order, signal);
    return joinSilent(sent, await Promise.all(watched.map((one) => one.watched(order.group, order.perPort ?? 1))));
  }

  /** Two pods of one node send from the same source ports at the same moments: they wait for each other in common memory. */
  private async sendTogether(
    order: SendOrder,
    from: Place,
    needMs: number,
    listener: Prober | undefined,
    signal?: AbortSignal,
  ): Promise<ProbeResult> {
    if (!this.path.peer) throw new Error('there is no second pod on the node of the sender');
    const [one, two] = await Promise.all([this.prober(from, needMs), this.prober(this.path.peer, needMs)]);
    const meet = await one.meet();
    const orders = [order, { ...order, group: order.group + 1 }].map((each, turn) => ({
      ...each,
      meet,
      turn,
    }));
    const answers = await Promise.all([one, two].map((each, index) => each.send(orders[index] ?? order, signal)));
    const results = await Promise.all(
      answers.map(async (answer, index) => joinProbe(answer, await listener?.report(order.group + index))),
    );
    return addProbes(results);
  }

  private destination(probe: Probe, evidence: Evidence, to: Place, port: number): { address: string; port: number } {
    const { service, hostPorts } = this.path;
    if (probe.route === 'service') return { address: service?.address ?? '', port: service?.port ?? 0 };
    if (probe.route === 'flow') {
      const { destination, destinationPort } = staleFlow(evidence);
      return { address: destination, port: destinationPort };
    }
    if (probe.route === 'hostport') {
      const one = hostPorts?.find(({ probe: may }) => may === 'echo');
      return { address: one?.addresses[0] ?? '', port: one?.port ?? 0 };
    }
    if (probe.route === 'nodeport') {
      const frontend = service?.frontends?.find(({ kind }) => kind === 'node');
      return { address: frontend?.address ?? '', port: frontend?.port ?? 0 };
    }
    if (probe.route !== 'endpoint') return { address: to.address, port };
    const endpoint = service?.endpoints.find(({ address }) => address === to.address);
    return { address: to.address, port: endpoint?.port ?? 0 };
  }

  private sizes(probe: Probe, evidence: Evidence, to: Place): readonly number[] {
    if (probe.sizes !== 'sweep') return probe.sizes;
    return sweepSizes(senderMtu(evidence), to.address.includes(':'), probe.df);
  }

  /** The prober of a place; a new one where the last has ended, was lost with its connection, or has too little life left. */
  private async prober(place: Place, needMs: number): Promise<Prober> {
    const open = this.probers.get(place.name);
    if (open?.usable(needMs)) return open;
    open?.close();
    const prober = new Prober(await this.at(place), this.run);
    this.probers.set(place.name, prober);
    await prober.open(this.shells.of(place.node), Math.max(proberLifeMs, 2 * needMs));
    return prober;
  }

  private async listener(place: Place, needMs: number): Promise<Prober> {
    const prober = await this.prober(place, needMs);
    if (prober.port === 0) await prober.listen();
    return prober;
  }
}

/** @throws Error where there is none */
function staleFlow(evidence: Evidence): Entry {
  const entry = probedFlow(evidence);
  if (!entry) throw new Error('no stale flow starts at the sender of this path');
  return entry;
}

const tupleOf = ({ source, sourcePort }: Entry) => ({ address: source, port: sourcePort });

/** Half of the chips on, in random order: no rhythm of other traffic can match it by chance. */
function balancedCode(chips: number): boolean[] {
  const code = Array.from({ length: chips }, (_, index) => index % 2 === 0);
  for (let index = chips - 1; index > 0; index--) {
    const other = Math.floor(Math.random() * (index + 1));
    [code[index], code[other]] = [code[other] ?? true, code[index] ?? true];
  }
  return code;
}
