import { loadPolicy } from '../activities/policy.ts';
import { needed, outcome } from '../domain/approval.ts';
import type { Inventory } from '../domain/inventory.ts';
import type { Sample } from '../domain/sample.ts';
import type { Place } from '../domain/target.ts';
import { takeSample } from '../nodes/sampling/sample.ts';
import { ShellPool } from '../nodes/shells/pool.ts';
import { openEngine } from '../worker/engine.ts';
import type { Finding } from './commands/doctor.ts';
import { whoami } from './identity.ts';
import { progress } from './output.ts';
import { strangersOf } from './trying.ts';

/** Whether Temporal answers; where it is the embedded one, it is started for that. */
export async function* checkTemporal(): AsyncGenerator<Finding> {
  const started = Date.now();
  try {
    const engine = await openEngine(progress);
    const which = engine.embedded ? 'embedded server' : 'server';
    const visible = engine.visible ? '' : '; its search attributes cannot be set, so runs are not searchable by target';
    yield {
      about: 'Temporal',
      state: engine.visible ? 'ok' : 'warn',
      says: `${which} at ${engine.address} answers after ${Date.now() - started} ms${visible}`,
    };
    await engine.close();
  } catch (error) {
    yield { about: 'Temporal', state: 'bad', says: error instanceof Error ? error.message : String(error) };
  }
}

/** Whether plans of this user can be approved by somebody. */
export async function* checkApproval(inventory: Inventory): AsyncGenerator<Finding> {
  const { approvers, quorum, needs } = inventory.approval;
  const me = await whoami(inventory);
  const others = approvers.filter(({ name }) => name !== me);
  const everybody = others.map(({ name }) => ({ principal: name, decision: 'approve' as const, reason: '', at: 0 }));
  const short = Object.entries({ any: [{ quorum }], ...needs }).flatMap(([risk, need]) => {
    const policy = { digest: '', requester: me, approvers, needs: need ?? [], expiresAt: 0 };
    return outcome(policy, everybody) === 'approved' ? [] : [`${needed(policy.needs)} (plans of ${risk} risk)`];
  });
  yield {
    about: 'approval',
    state: short.length ? 'warn' : 'ok',
    says: short.length
      ? `you are ${me}; ${others.length} others may approve your plans, too few for ${short.join(', ')}, so nothing can be changed: add approvers to the inventory`
      : `you are ${me}; ${others.length} others may approve your plans, ${quorum} must`,
  };
}

/** Which rules of the policy are active, and which standing approvals are over or soon will be. */
export async function* checkPolicy(inventory: Inventory): AsyncGenerator<Finding> {
  if (inventory.policy === undefined) return;
  const { policy } = await loadPolicy(inventory.policy);
  const soon = Date.now() + 7 * 86_400_000;
  const ending = policy.rules.flatMap(({ name, standing }) =>
    standing && Date.parse(standing.until) < soon ? [`the standing approval of ${name} ends on ${standing.until}`] : [],
  );
  const wrong = [...strangersOf(policy, inventory), ...ending];
  const active = policy.rules.filter(({ mode }) => mode === 'active').length;
  const says = `${active} rules are active, ${policy.rules.length - active} in shadow mode`;
  yield { about: 'policy', state: wrong.length ? 'warn' : 'ok', says: [says, ...wrong].join('; ') };
}

/** What a stock node may lack, and what goes untested or undone without it. */
const wanted: [tool: string, without: string][] = [
  ['python', 'no probe can be sent from or received there'],
  ['conntrack', 'stale entries cannot be seen or deleted'],
  ['ethtool', 'offloads cannot be seen or changed'],
  ['tc', 'dropping queues cannot be seen'],
  ['ip', 'links, routes and neighbours cannot be seen'],
  ['flock', 'nothing can be changed safely'],
];

/** Whether the API answers and this account may do what undrop asks for; one line for each right that is missing. */
export async function* checkCluster(inventory: Inventory): AsyncGenerator<Finding> {
  if (!inventory.kubernetes) return;
  const shells = new ShellPool(inventory);
  try {
    const [{ mayI, rightsOf }, { config }] = await Promise.all([import('../cluster/index.ts'), shells.cluster()]);
    const rights = rightsOf(inventory.kubernetes.namespace);
    const has = await Promise.all(rights.map((right) => mayI(config, right)));
    const lacking = rights.filter((_, index) => !has[index]);
    for (const { verb, resource, namespace, without } of lacking)
      yield {
        about: 'rights',
        state: 'warn',
        says: `not allowed: ${verb} ${resource}${namespace ? ` in ${namespace}` : ''}; ${without}`,
      };
    if (lacking.length === 0)
      yield {
        about: 'rights',
        state: 'ok',
        says: `this account may do all ${rights.length} things that undrop asks the API for`,
      };
  } catch (error) {
    yield { about: 'cluster', state: 'bad', says: textOf(error) };
  } finally {
    await shells.close();
  }
}

/** Nodes of a cluster, each as a place; none where the API does not answer, which is said elsewhere. */
async function clusterNodes(shells: ShellPool): Promise<Place[]> {
  try {
    const [{ Reader, readNodes }, { config }] = await Promise.all([import('../cluster/index.ts'), shells.cluster()]);
    return (await readNodes(new Reader(config))).map(({ metadata, status }): Place => {
      const name = metadata?.name ?? '';
      const address = status?.addresses?.find(({ type }) => type === 'InternalIP')?.address ?? '';
      return { name, role: 'hop', node: name, address, nodeAddress: address };
    });
  } catch {
    return [];
  }
}

/** From this share of its table on a node is in danger: when it is full, it accepts no new session of anybody. */
const nearlyFull = 0.7;

/** A node whose table fills up goes blind: the kubelet's port is tracked like everything else. */
function blindness(sample: Sample): string[] {
  const { nf_conntrack_count: count = 0, nf_conntrack_max: max = 0 } = sample.gauges;
  if (max === 0 || count < nearlyFull * max) return [];
  return [
    `its conntrack table holds ${count} of ${max} entries: once full it accepts no new session, neither exec nor ssh; let a worker watch its Services (kubernetes.watch), or exempt the kubelet's port and loopback from tracking (docs/deploy.md)`,
  ];
}

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Reads every node and pod at once; a dead one is named and delays no other. */
export async function* checkNodes(inventory: Inventory): AsyncGenerator<Finding> {
  const shells = new ShellPool(inventory);
  const places = [
    ...(inventory.kubernetes ? await clusterNodes(shells) : []),
    ...Object.entries(inventory.nodes).map(([name, { address }]): Place => ({
      name,
      role: 'hop',
      node: name,
      address,
      nodeAddress: address,
    })),
    ...Object.entries(inventory.pods).map(([name, { node, address, netns, pid }]): Place => {
      const inside = { ...(netns !== undefined && { netns }), ...(pid !== undefined && { pid }) };
      return { name, role: 'hop', node, address, nodeAddress: address, ...inside };
    }),
  ];
  try {
    for (const finding of await Promise.all(places.map((place) => checkPlace(shells, place)))) yield finding;
  } finally {
    await shells.close();
  }
}

async function checkPlace(shells: ShellPool, place: Place): Promise<Finding> {
  const about = place.netns === undefined && place.pid === undefined ? place.name : `${place.name} on ${place.node}`;
  const started = Date.now();
  try {
    const sample = await takeSample(shells.of(place.node), place, { mode: 'full', routes: [], flowsTo: [] });
    const lacks = [...blindness(sample), ...lacking(sample)];
    const ms = Date.now() - started;
    return {
      about,
      state: lacks.length ? 'warn' : 'ok',
      says: [`Linux ${sample.kernel}, read in ${ms} ms`, ...lacks].join('; '),
    };
  } catch (error) {
    return { about, state: 'bad', says: error instanceof Error ? error.message : String(error) };
  }
}

function lacking({ tools, root, missing, cut }: Sample): string[] {
  const without = wanted
    .filter(([tool]) => !tools.includes(tool))
    .map(([tool, why]) => `no ${tool === 'python' ? 'python3' : tool}: ${why}`);
  const firewall = ['nft', 'iptables-save'].some((tool) => tools.includes(tool))
    ? []
    : ['neither nft nor iptables: rules that drop cannot be seen'];
  const rights = root ? [] : ['not root: much cannot be read and nothing changed'];
  const unread = Object.entries(missing)
    .filter(([part]) => part !== 'arp')
    .map(([part, why]) => `${part} not read (${why})`);
  return [...without, ...firewall, ...rights, ...unread, ...cut.map((part) => `${part} was cut at its bound`)];
}
