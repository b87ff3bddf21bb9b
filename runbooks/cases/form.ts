import { z } from 'zod';
import { counters, gauges } from '../../domain/counters.ts';
import { Entry, Link, Rule, Sample, Socket } from '../../domain/sample.ts';
import { healthyEntry, healthyNodes, healthyPath } from './healthy.ts';

const Count = z.int().min(0);
const places: string[] = healthyPath.places.map(({ name }) => name);

/** A record whose names are checked, so that a misspelt one is an error and not a case that tests nothing. */
const named = <T extends z.ZodType>(value: T, known: (name: string) => boolean, words: string) =>
  z.record(z.string(), value).superRefine((record, context) => {
    for (const name of Object.keys(record))
      if (!known(name)) context.addIssue({ code: 'custom', path: [name], message: `${name} is ${words}` });
  });
const perPlace = <T extends z.ZodType>(value: T) =>
  named(value, (name) => places.includes(name), `no place of the path: ${places.join(', ')}`);

/** What moved: a counter, a device's (`qdisc.eth0.tbf.dropped`), a rule's (`rule ID`) or a socket's (`socket PORT`). */
export const Delta = named(
  z.union([z.int(), z.array(z.int())]),
  (name) => name in counters || /^((link|qdisc|nic)\.\S+\.|rule \S|socket \d)/.test(name),
  'no counter, device, rule or socket',
);

export type Delta = z.infer<typeof Delta>;

/** A probe by what was lost of it: a number, one per size (`sent` is then of each size), or one per chip of a code. */
const ProbeForm = z.strictObject({
  sent: z.union([Count, z.array(Count)]),
  lost: z.union([Count, z.array(Count), z.record(z.string().regex(/^\d+$/), Count)]),
  /** How many of the lost ones were answers; the others never arrived. */
  replyLost: Count.default(0),
  /** Dropped by undrop's own sockets: no loss. */
  ownDrops: Count.default(0),
  /** Answers from another address than was asked. */
  strange: Count.default(0),
  /** Of a silent step: the first datagrams of their source ports, and how many of those were among the lost. */
  firsts: z.strictObject({ sent: Count, lost: Count.default(0) }).optional(),
  size: Count.default(64),
  /** Of watched traffic, for the step `passive`: what each flow to the Service had in every part. */
  flows: z
    .array(
      z.strictObject({
        sourcePort: Count.default(healthyEntry.sourcePort),
        destination: z.string().default(healthyEntry.destination),
        sent: Count,
        lost: Count,
      }),
    )
    .default([]),
});
export type ProbeForm = z.infer<typeof ProbeForm>;

const Rules = z.array(
  z.strictObject({
    ...Rule.shape,
    verdict: Rule.shape.verdict.default('drop'),
    packets: Rule.shape.packets.default(0),
    protocol: Rule.shape.protocol.default('udp'),
    invalid: z.boolean().default(false),
    fragments: z.boolean().default(false),
    random: z.boolean().default(false),
  }),
);

const Quiet = z.strictObject({ seconds: z.number().positive().default(1), delta: perPlace(Delta).default({}) });
const WindowForm = Quiet.extend({
  step: z.string(),
  probe: ProbeForm,
  /** Places that could not be read after this step, and why. */
  failed: perPlace(z.string()).default({}),
  /** What a place has from now on, instead of what it had before. */
  now: perPlace(
    z.strictObject({ rules: Rules, neighbours: Sample.shape.neighbours, missing: Sample.shape.missing }).partial(),
  ).default({}),
});
export type WindowForm = z.infer<typeof WindowForm>;

/** What a place has that the healthy one has not. Lists stand instead of the healthy ones, records are merged into them. */
const PlaceForm = z.strictObject({
  gauges: named(z.number(), (name) => name in gauges, 'no setting or gauge').default({}),
  features: Sample.shape.features.default({}),
  routes: z
    .record(
      z.string(),
      z.strictObject({ device: z.string().default(''), error: z.string().default(''), via: z.string().optional() }),
    )
    .default({}),
  missing: Sample.shape.missing.default({}),
  /** Counters that this kernel or namespace does not show. */
  without: z.array(z.enum(Object.keys(counters))).default([]),
  rules: Rules.optional(),
  links: z
    .array(
      z.strictObject({
        ...Link.shape,
        mtu: Count.default(1500),
        kind: z.string().default('physical'),
        up: z.boolean().default(true),
      }),
    )
    .optional(),
  sockets: z.array(z.strictObject(Socket.shape)).optional(),
  neighbours: Sample.shape.neighbours.optional(),
  entries: z.array(z.strictObject(Entry.shape).partial()).optional(),
  log: Sample.shape.log.optional(),
  cut: Sample.shape.cut.optional(),
});
export type PlaceForm = z.infer<typeof PlaceForm>;

const Endpoint = z.strictObject({
  address: z.string().default(healthyPath.service.endpoints[0]?.address ?? ''),
  port: Count.default(healthyPath.service.port),
  node: z.enum(healthyNodes).default('worker-b'),
  ready: z.boolean().default(true),
  serving: z.boolean().default(true),
  terminating: z.boolean().default(false),
});

/** What the API says, where it is not what it says of the healthy Service. `{}`: the path is in a cluster. */
const ClusterForm = z.strictObject({
  service: z
    .strictObject({
      protocol: z.string(),
      externalPolicy: z.enum(['Cluster', 'Local']),
      internalPolicy: z.enum(['Cluster', 'Local']),
      hints: z.boolean(),
      affinity: z.enum(['None', 'ClientIP']),
      affinitySeconds: Count,
      endpoints: z.array(Endpoint),
      selector: z.string(),
      selected: Count,
      ready: Count,
      slicePorts: z.array(z.string()),
    })
    .partial()
    .default({}),
  policies: z.array(z.strictObject({ name: z.string(), end: z.enum(['sender', 'receiver']), allows: z.boolean() })).default([]), // prettier-ignore
  dataPlane: z
    .strictObject({
      kind: z.enum(['kube-proxy', 'cilium', 'ovn-kubernetes', 'calico-ebpf', 'unknown']),
      says: z.string(),
      /** Beside what the healthy ConfigMap says; `none`: it cannot be read. */
      config: z.union([
        z.literal('none'),
        z.strictObject({ mode: z.string(), maxPerCore: Count, min: Count }).partial(),
      ]),
    })
    .partial()
    .default({}),
  /** `none`: the nodes may not be read. */
  cores: z.union([z.literal('none'), z.partialRecord(z.enum(healthyNodes), Count)]).default({}),
  denied: z.record(z.string(), z.string()).default({}),
});
export type ClusterForm = z.infer<typeof ClusterForm>;

/** kube-proxy on a node, where it is not the healthy one; `none`: it was not looked at. */
const PlaneForm = z.union([
  z.literal('none'),
  z
    .strictObject({
      process: z.union([z.literal('none'), z.strictObject({ pid: Count.default(812), state: z.string() })]),
      mode: z.string(),
      health: z.string(),
      queued: z.boolean(),
      restoreFailures: Count,
      programmed: z.record(z.string(), z.array(z.string())),
      bound: z.record(z.string(), z.string()),
      legacyChains: Count,
      bridgeCalls: Count,
      missing: z.record(z.string(), z.string()),
      /** What could not be read of it. */
      without: z.array(z.enum(['syncedAgo', 'queued', 'restoreFailures', 'programmed', 'bridgeCalls'])),
    })
    .partial(),
]);
export type PlaneForm = z.infer<typeof PlaneForm>;

/** One situation and the verdict that the cause must get in it. */
export const Case = z.strictObject({
  name: z.string().min(1),
  at: z.enum(places),
  expect: z.enum(['proved', 'suspected', 'refuted', 'untested']),
  /** What the verdict's sentence must contain. */
  says: z.union([z.string(), z.array(z.string())]).default([]),
  /** Everything else that is proved by the same evidence, as CAUSE@place. */
  beside: z.array(z.string()).default([]),
  /** The proved cause that this one is an effect of. */
  effectOf: z.string().optional(),
  /** The step that the verdict asks for. */
  next: z.string().optional(),
  /** `none`: the path leads to the pod itself and not to its Service. `dns`: the Service is a DNS server's. */
  service: z.enum(['none', 'dns']).optional(),
  /** The Service has no endpoint that serves: the path ends at the sender's node. */
  endpoints: z.literal('none').optional(),
  /** UDP host ports that lead to the target; `{}` is the healthy one of dns-1. Known in a cluster only. */
  hostPorts: z
    .array(
      z
        .strictObject({
          node: z.enum(healthyNodes),
          addresses: z.array(z.string()),
          port: Count,
          owners: z.array(z.strictObject({ pod: z.string(), address: z.string(), port: Count })),
          probe: z.enum(['echo', 'none']),
        })
        .partial(),
    )
    .default([]),
  /** What its API says, where the path is in a cluster. */
  cluster: ClusterForm.optional(),
  /** And kube-proxy there, by node. */
  planes: z.partialRecord(z.enum(healthyNodes), PlaneForm).default({}),
  /** What moves while nothing is sent. */
  control: Quiet.prefault({}),
  windows: z.array(WindowForm).min(1),
  samples: perPlace(PlaceForm).default({}),
});
export type Case = z.infer<typeof Case>;
