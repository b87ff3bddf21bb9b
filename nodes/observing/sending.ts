import type { Evidence } from '../../domain/evidence.ts';
import { endpointsByAffinity } from '../../domain/facts/affinity.ts';
import { senderMtu } from '../../domain/facts/sizes.ts';
import { defaultZone } from '../../domain/inventory.ts';
import { type ProbeResult, addProbes, joinProbe, joinSilent } from '../../domain/probe-result.ts';
import { type Probe, sweepSizes } from '../../domain/probe.ts';
import type { Entry } from '../../domain/sample.ts';
import { type Path, type Place, receiverOf } from '../../domain/target.ts';
import type { Prober, SendOrder } from '../probing/prober.ts';
import { destinationOf, staleFlow } from './destination.ts';
import type { Places } from './places.ts';
import { Probers } from './probers.ts';

/** How long answers may take after the last datagram, in milliseconds: more than any round trip worth waiting for. */
export const answerMs = 400;
/** What a step may take beyond its sending: round trips to both ends, samples of slow nodes. */
const aroundMs = 30_000;

/** A DNS server is everybody's: it gets no more queries of undrop's a second, nor longer ones than those of old may be. */
const mostQueries = 500;
const longestQuery = 512;

/** Two senders meet so often, until so many of their datagrams have collided. */
const mostRounds = 4;
const enoughCollisions = 30;

/** So many endpoints are asked by themselves. */
const mostEndpoints = 4;

/** Sends probes over one path, and joins what both ends counted. */
export class Sending {
  private readonly path: Path;
  private readonly probers: Probers;
  private group = 0;

  /** @param run 16 hex digits that mark this run's datagrams */
  constructor(places: Places, path: Path, run: string) {
    this.path = path;
    this.probers = new Probers(places, run);
  }

  /** @throws Error when it cannot be sent at all, naming the place and what is missing there */
  async send(probe: Probe, evidence: Evidence, signal?: AbortSignal): Promise<ProbeResult> {
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
    const listener = own ? await this.probers.listener(to, needMs) : undefined;
    const order: SendOrder = {
      group: (this.group += 2),
      ...destinationOf(probe, this.path, evidence, to, listener?.port ?? 0),
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
        const sender = await this.probers.at(from, needMs);
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
    const sender = await this.probers.at(from, needMs);
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
        const prober = await this.probers.at(place, needMs);
        await prober.watch(port);
        return prober;
      }),
    );
    const sender = await this.probers.at(from, needMs);
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
    const [one, two] = await Promise.all([this.probers.at(from, needMs), this.probers.at(this.path.peer, needMs)]);
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

  private sizes(probe: Probe, evidence: Evidence, to: Place): readonly number[] {
    if (probe.sizes !== 'sweep') return probe.sizes;
    return sweepSizes(senderMtu(evidence), to.address.includes(':'), probe.df);
  }

  /** Ends what was begun on the places. */
  close(): void {
    this.probers.close();
  }
}

const tupleOf = ({ source, sourcePort }: Entry) => ({ address: source, port: sourcePort });
