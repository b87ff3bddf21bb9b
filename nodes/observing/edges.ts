import { type Plane, frontendsAt } from '../../domain/cluster.ts';
import type { Edge } from '../../domain/evidence.ts';
import type { Path } from '../../domain/target.ts';
import { readPlane } from '../sampling/plane.ts';
import { takeSample } from '../sampling/sample.ts';
import type { Places } from './places.ts';

/** A place that was silent so often is not waited for again: each time costs the run seconds. */
const patience = 2;

/** Samples the places of one path, over and over. */
export class Edges {
  private readonly places: Places;
  private readonly path: Path;
  /** Why a place is not asked again: it did not answer at first, or twice in a row later. */
  private readonly silent = new Map<string, { times: number; why: string }>();

  constructor(places: Places, path: Path) {
    this.places = places;
    this.path = path;
  }

  /** Samples all places at the same time. A place that cannot be read is named, and holds up no other. */
  async take(mode: 'full' | 'light', signal?: AbortSignal): Promise<Edge> {
    const edge: Edge = { at: Date.now(), samples: {}, failed: {} };
    const { places } = this.path;
    const ends = places.flatMap((place) => (place.role === 'hop' ? [] : [place.address, place.nodeAddress]));
    const reading = {
      mode,
      routes: [...new Set(ends)],
      ...(signal && { signal }),
    };
    await Promise.all(
      places.map(async (place) => {
        const { times, why } = this.silent.get(place.name) ?? { times: 0, why: '' };
        if (times >= patience) {
          edge.failed[place.name] = why;
          return;
        }
        try {
          edge.samples[place.name] = await takeSample(this.places.shell(place.node), await this.places.at(place), {
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

  /** kube-proxy on each node of a cluster's path that answers, or on one. Why one could not be read is in its `missing`. */
  async planes(only?: string): Promise<Record<string, Plane>> {
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
        await readPlane(this.places.shell(node), node, addressesAt(node), places[0]?.address ?? '').catch(
          (error: Error) => unread(error.message),
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
}
