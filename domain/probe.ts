import { z } from 'zod';

/**
 * Where the datagrams of a probe go: undrop's own listener at the far end (either way), or the Service's application by the
 * Service's address, a node's port, its endpoint's own address, a pod's by its host port, or on a flow that is there
 * already. `pinned`: straight to the endpoint that session affinity keeps for the sender; `others`: to each of the others.
 */
const Route = z.enum(['path', 'reverse', 'service', 'nodeport', 'endpoint', 'hostport', 'flow', 'pinned', 'others']);

/** One probe of the runbook: what is sent in one window. */
export const Probe = z.strictObject({
  route: Route,
  /** Payload sizes in bytes, or a sweep around the sizes that the path's MTUs suggest. */
  sizes: z.union([z.array(z.int().min(20).max(65000)).min(1), z.literal('sweep')]),
  /** Datagrams per size. */
  count: z.int().min(1).max(20_000),
  /** Datagrams per second; 0: as fast as the sender can. */
  rate: z.number().min(0).max(20_000),
  /** `fresh`: a source port for each datagram. `one`: all from one. `sequence`: one port after another, from a given one. */
  source: z.enum(['fresh', 'one', 'sequence']).default('fresh'),
  /** With `fresh`: so many leave from each source port, before the next port. */
  perPort: z.int().min(1).max(100).default(1),
  /** The application answers nothing: arrivals are counted beside it, as they enter its namespace. */
  silent: z.boolean().default(false),
  /** Forbids fragments (IPv4's DF bit). */
  df: z.boolean().default(false),
  /** `software`: checksums computed by undrop, so that no offload takes part. */
  checksum: z.enum(['kernel', 'software']).default('kernel'),
  /** A second pod of the sender's node sends the same at the same moment. */
  withPeer: z.boolean().default(false),
  /** Sent in a random on/off code with a sample at each edge: tells this loss from other traffic's. Number of chips. */
  chips: z.int().min(8).max(200).optional(),
});
export type Probe = z.infer<typeof Probe>;

/**
 * Payload sizes at which paths break: the exact fit of common MTUs below the sender's, one byte beside its own, and some
 * that the sender has to fragment. Headers: 28 bytes of IPv4 and UDP, 48 of IPv6.
 */
export function sweepSizes(senderMtu: number, ipv6: boolean, df: boolean): number[] {
  const headers = ipv6 ? 48 : 28;
  const mtus = [
    1280,
    1350,
    1400,
    1410,
    1430,
    1450,
    1460,
    1480,
    1500,
    4000,
    8000,
    8950,
    9000,
    senderMtu - 50,
    senderMtu,
  ];
  const fits = [64, 512, 1200, ...mtus.filter((mtu) => mtu <= senderMtu && mtu > 600).map((mtu) => mtu - headers)];
  const beyond = df ? [] : [senderMtu - headers + 8, 2000, 4000].filter((size) => size > senderMtu - headers);
  return [...new Set([...fits, ...beyond])].toSorted((a, b) => a - b);
}
