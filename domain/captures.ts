import { frontendsOf } from './cluster.ts';
import type { Path, Place } from './target.ts';

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
  /**
   * -1: before anything counts. 0: what arrives counts. Then what is sent counts too: 1 while the first edge is sampled, 2
   * between the first edge and the second, 3 while the second is sampled, and so on. After the last edge only what arrives.
   */
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
  /** Number of windows between edges. */
  windows: number;
}

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

export function flowOf(captured: Captured, index: number): Flow {
  const flow = captured.flows[index];
  if (!flow) throw new Error(`a capture names flow ${index} and has ${captured.flows.length}`);
  return flow;
}
