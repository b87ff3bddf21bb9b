import { loadPolicy } from '../activities/policy.ts';
import { hasWorker, withoutWorker } from '../client/workers.ts';
import { needed, outcome } from '../domain/approval.ts';
import { type Inventory, type KubernetesSpec, taskQueueOf } from '../domain/inventory.ts';
import { ShellPool } from '../nodes/shells/pool.ts';
import { type Engine, openEngine } from '../worker/engine.ts';
import { dataFolder } from '../worker/paths.ts';
import type { Finding } from './commands/doctor.ts';
import { whoami } from './identity.ts';
import { progress } from './output.ts';
import { strangersOf } from './trying.ts';

/** Whether Temporal answers; where it is the embedded one, it is started for that. Elsewhere there must be a worker too. */
export async function* checkTemporal(inventory: Inventory): AsyncGenerator<Finding> {
  const started = Date.now();
  let engine: Engine | undefined;
  try {
    engine = await openEngine(progress);
    const which = engine.embedded ? 'embedded server' : 'server';
    const visible = engine.visible ? '' : '; its search attributes cannot be set, so runs are not searchable by target';
    yield {
      about: 'Temporal',
      state: engine.visible ? 'ok' : 'warn',
      says: `${which} at ${engine.address} answers after ${Date.now() - started} ms${visible}`,
    };
    if (engine.embedded) return; // each command is a worker itself
    const queue = taskQueueOf(inventory);
    const there = await hasWorker(engine, queue);
    yield {
      about: 'worker',
      state: there ? 'ok' : 'bad',
      says: there ? `one works on the queue ${queue}` : withoutWorker(engine, queue),
    };
  } catch (error) {
    const help = Object.keys(process.env).some((name) => name.startsWith('TEMPORAL_'))
      ? 'check the TEMPORAL_ variables (docs/engine.md), or unset all of them for a server of your own'
      : `server.log in ${dataFolder()} may say more`;
    yield { about: 'Temporal', state: 'bad', says: `${textOf(error)}; ${help}` };
  } finally {
    await engine?.close();
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
      ? `you are ${me}; ${others.length} others may approve your plans, too few for ${short.join(', ')}, so nothing can be changed: add approvers to the inventory (docs/inventory.md)`
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
    yield { about: 'cluster', state: 'bad', says: unreachable(inventory.kubernetes, error) };
  } finally {
    await shells.close();
  }
}

/** Nothing tells a cluster that is away from a context of yesterday: kubectl shows it by the same words. */
function unreachable({ kubeconfig, context }: KubernetesSpec, error: unknown): string {
  const flags = [kubeconfig && ` --kubeconfig ${kubeconfig}`, context && ` --context ${context}`].map(
    (one) => one ?? '',
  );
  const cause = error instanceof Error && error.cause instanceof Error ? ` (${error.cause.message})` : '';
  return `${textOf(error)}${cause}; \`kubectl${flags.join('')} get nodes\` has to work first; \`undrop demo\` needs no cluster`;
}

export const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
