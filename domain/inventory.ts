import { z } from 'zod';
import { Name, Needs, Quorum } from './names.ts';
import { Audit } from './audit-profile.ts';

/** In one spelling each, the one that the kernel prints: `FD00:0:0::1` and `fd00::1` are the same place. */
const Address = z.union([z.ipv4(), z.ipv6().transform((text) => new URL(`http://[${text}]`).hostname.slice(1, -1))]);
const Port = z.int().min(1).max(65535);
const FilePath = z.string().regex(/^[^\0\n]+$/);

const Ssh = z.strictObject({
  host: z.string().regex(/^[a-z0-9.:_-]+$/i),
  port: Port.default(22),
  user: z.string().regex(/^[a-z_][a-z0-9_.-]*\$?$/i),
  /** Private key file; without it the ssh agent of SSH_AUTH_SOCK is asked. */
  identity: FilePath.optional(),
  /** File whose entry for the host must match the host's key. */
  knownHosts: FilePath.default('~/.ssh/known_hosts'),
});

/** How commands reach a node: this machine, a network namespace of this machine, or ssh. */
const ShellSpec = z.union([
  z.literal('local'),
  z.strictObject({ netns: z.string().regex(/^[a-z0-9._-]+$/i) }),
  z.strictObject({ ssh: Ssh }),
]);

const Node = z.strictObject({
  shell: ShellSpec,
  address: Address,
  /** Nodes of a zone fail together: a rollout takes some of each zone at a time. */
  zone: Name.optional(),
});

const Pod = z.strictObject({
  node: Name,
  address: Address,
  /** The pod's network namespace on that node: a name under /run/netns, or the id of a process inside. */
  netns: z
    .string()
    .regex(/^[a-z0-9._-]+$/i)
    .optional(),
  pid: z.int().positive().optional(),
});

/**
 * `echo`: the application sends back what it gets, so undrop may probe it. `dns`: it answers queries. `sink`: it may be
 * probed too, but answers nothing, as collectors of logs and flows do. `none`: leave it alone.
 */
export const ProbeKind = z.enum(['echo', 'dns', 'sink', 'none']);
export type ProbeKind = z.infer<typeof ProbeKind>;
/** What clusters call their own zone where nobody chose another. */
export const defaultZone = 'cluster.local';

export const ServiceSpec = z.strictObject({
  address: Address,
  port: Port,
  endpoints: z.array(z.strictObject({ address: Address, port: Port })),
  probe: ProbeKind.default('none'),
  /** Of a DNS server: a zone that it answers from memory, so that a probe makes it ask nobody. */
  zone: z
    .string()
    .regex(/^([a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}$/i)
    .max(120)
    .optional(),
});

const Via = z.strictObject({ between: z.tuple([Name, Name]), via: z.array(Name).min(1) });

/** A cluster as the inventory: its API says what there is, and the agents' pods are the way to its nodes. */
const Kubernetes = z.strictObject({
  /** Left out: KUBECONFIG or ~/.kube/config, and inside a pod the pod's own account. */
  kubeconfig: FilePath.optional(),
  context: z.string().min(1).optional(),
  /** Where the agents are, and where undrop makes pods of its own. */
  namespace: z
    .string()
    .regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/)
    .default('undrop'),
  /** The agents' image: for pods that undrop makes itself where a node has no agent, and for senders of its own. */
  image: z
    .string()
    .regex(/^[a-z0-9][a-z0-9._:/@-]{0,254}$/i)
    .default('undrop/agent:0.1.0'),
  /** Services whose nodes a worker keeps sessions with: a node whose conntrack table is full accepts no new one. */
  watch: z.array(z.string().regex(/^service\/[a-z0-9-]+\/[a-z0-9-]+$/)).default([]),
});

const PublicKey = z.string().regex(/^(ssh|ecdsa)-\S+ \S+/);

const Approval = z.strictObject({
  /**
   * Who may decide: a name and the ssh public key that their decisions are signed with; without a key they decide
   * through a gateway only.
   */
  approvers: z
    .array(z.strictObject({ name: Name, key: PublicKey.optional(), groups: z.array(Name).default([]) }))
    .default([]),
  quorum: Quorum.default(1),
  /** Instead of the quorum, for plans of this risk: so many of a group each. */
  needs: z.partialRecord(z.enum(['low', 'medium', 'high']), Needs).default({}),
  /** Gateways that may speak for approvers they have authenticated, and the public keys that they sign with. */
  gateways: z.array(z.strictObject({ name: Name, key: PublicKey })).default([]),
  /** Minutes until an undecided plan lapses. */
  expiresMinutes: z
    .number()
    .positive()
    .max(7 * 24 * 60)
    .default(60),
});

/** For how many days after its last use what undrop writes is kept. No less than a plan may wait for people. */
const Days = z.int().min(8).max(3650);
const Keep = z
  .strictObject({
    /** Evidence, and reports of audits and of runs without a plan. */
    days: Days.default(30),
    /** Reports of runs with a plan: they are the record of who changed what. */
    changesDays: Days.default(365),
  })
  .refine(({ days, changesDays }) => changesDays >= days, { path: ['changesDays'], error: 'no less than days' });

export const Inventory = z
  .strictObject({
    name: Name,
    kubernetes: Kubernetes.optional(),
    nodes: z.record(Name, Node).default({}),
    pods: z.record(Name, Pod).default({}),
    services: z.record(Name, ServiceSpec).default({}),
    /** Nodes that forward between two others and can be read too, such as a router. */
    paths: z.array(Via).default([]),
    approval: Approval.prefault({}),
    /** File of the auto-remediation policy, as seen from the inventory's: its own, so that others can own it. */
    policy: FilePath.optional(),
    audit: Audit.prefault({}),
    keep: Keep.prefault({}),
  })
  .superRefine((inventory, context) => {
    const known = (name: string) => Object.hasOwn(inventory.nodes, name);
    const complain = (path: (string | number)[], message: string) =>
      context.addIssue({ code: 'custom', path, message });
    if (inventory.kubernetes) {
      for (const key of ['nodes', 'pods', 'services'] as const)
        if (Object.keys(inventory[key]).length)
          complain([key], 'a cluster says itself what it has; leave this out beside kubernetes');
      if (inventory.paths.length) complain(['paths'], 'a cluster has no paths of this kind; leave this out');
    } else if (Object.keys(inventory.nodes).length === 0)
      complain(['nodes'], 'give nodes, or kubernetes for a cluster');
    for (const [name, pod] of Object.entries(inventory.pods)) {
      if (!known(pod.node)) complain(['pods', name, 'node'], `there is no node named ${pod.node}`);
      if ((pod.netns === undefined) === (pod.pid === undefined))
        complain(['pods', name], 'give either netns or pid, so that its network namespace can be entered');
      if (known(name)) complain(['pods', name], 'a node has the same name');
    }
    for (const name of Object.keys(inventory.services))
      if (known(name) || Object.hasOwn(inventory.pods, name))
        complain(['services', name], 'a node or pod has the same name');
    inventory.paths.forEach((path, index) => {
      for (const name of [...path.between, ...path.via])
        if (!known(name)) complain(['paths', index], `there is no node named ${name}`);
    });
  });

export type Inventory = z.infer<typeof Inventory>;

/** Workflows of one inventory are worked on by workers that have this inventory. */
export const taskQueueOf = ({ name }: Pick<Inventory, 'name'>): string => `undrop-${name}`;

export type KubernetesSpec = z.infer<typeof Kubernetes>;
export type ShellSpec = z.infer<typeof ShellSpec>;
export type Keep = z.infer<typeof Keep>;
export type SshSpec = z.infer<typeof Ssh>;
export type ServiceSpec = z.infer<typeof ServiceSpec>;
