import { z } from 'zod';

const Numbers = z.record(z.string(), z.number());

export const Link = z.object({
  name: z.string(),
  mtu: z.number(),
  kind: z.string(),
  up: z.boolean(),
});

/** A rule that can lose or rewrite a datagram, with its packet counter (null where the rule has none). */
export const Rule = z.object({
  id: z.string(),
  text: z.string(),
  verdict: z.enum(['drop', 'reject', 'masquerade', 'snat']),
  packets: z.number().nullable(),
  /** `udp`: may match UDP. `other`: matches only another protocol. */
  protocol: z.enum(['udp', 'icmp', 'other']),
  /** Matches only packets that conntrack calls INVALID. */
  invalid: z.boolean(),
  /** Matches only later fragments. */
  fragments: z.boolean(),
  /** Spreads source ports at random (`--random-fully`). */
  random: z.boolean(),
});

/** A conntrack entry of a flow to a Service: both tuples as the kernel lists them. */
export const Entry = z.object({
  source: z.string(),
  sourcePort: z.number(),
  destination: z.string(),
  destinationPort: z.number(),
  replySource: z.string(),
  replySourcePort: z.number(),
  replyDestination: z.string(),
  replyDestinationPort: z.number(),
  unreplied: z.boolean(),
  timeout: z.number(),
});

export const Socket = z.object({
  address: z.string(),
  port: z.number(),
  queued: z.number(),
  drops: z.number(),
  inode: z.number(),
});

/** One read of one network namespace of one node at one time. */
export const Sample = z.object({
  bootId: z.string(),
  netns: z.string(),
  /** Seconds since boot: a clock that nobody sets. */
  uptime: z.number(),
  kernel: z.string(),
  root: z.boolean(),
  tools: z.array(z.string()),
  counters: Numbers,
  gauges: Numbers,
  /** Lost packets per device and root qdisc: `link.eth0.tx_dropped`, `qdisc.eth0.tbf.dropped`, `nic.eth0.rx_missed_errors`. */
  devices: Numbers,
  rules: z.array(Rule),
  sockets: z.array(Socket),
  links: z.array(Link),
  /** Feature name -> on or off, per device. */
  features: z.record(z.string(), z.record(z.string(), z.boolean())),
  /** Those that do not answer first; a light sample has only these. */
  neighbours: z.array(z.object({ address: z.string(), device: z.string(), state: z.string() })),
  /** Destination -> what `ip route get` says of it. */
  routes: z.record(z.string(), z.object({ device: z.string(), error: z.string(), via: z.string().optional() })),
  entries: z.array(Entry),
  log: z.array(z.object({ at: z.number(), text: z.string() })),
  /** Parts that could not be read, and why. */
  missing: z.record(z.string(), z.string()),
  /** Parts that were cut at their bound: what is there is true, what is not there is unknown. */
  cut: z.array(z.string()),
});
export type Sample = z.infer<typeof Sample>;
export type Rule = z.infer<typeof Rule>;
export type Entry = z.infer<typeof Entry>;

/** What of an entry names a flow as its sender sees it. */
export type Ends = Pick<Entry, 'source' | 'sourcePort' | 'destination' | 'destinationPort'>;

/** Whether two entries are of one flow, wherever each leads. */
export const sameFlow = (a: Ends, b: Ends): boolean =>
  (['source', 'sourcePort', 'destination', 'destinationPort'] as const).every((key) => a[key] === b[key]);

export const flowText = ({ source, sourcePort, destination, destinationPort }: Entry): string =>
  `${source}:${sourcePort} -> ${destination}:${destinationPort}`;
export type Link = z.infer<typeof Link>;
