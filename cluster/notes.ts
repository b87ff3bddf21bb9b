import { randomBytes } from 'node:crypto';
import { CoordinationV1Api, CoreV1Api, EventsV1Api, type KubeConfig, V1MicroTime } from '@kubernetes/client-node';

/** What others can see with kubectl while a node is changed. */
export interface Note {
  node: string;
  /** One word in capitals as events have it: `ChangeArmed`. */
  reason: string;
  says: string;
  /** The change that holds the node, while it does. */
  holder?: string;
}

/**
 * Writes an Event on the Node object, and keeps a Lease of the node's name in undrop's namespace while a change holds it.
 * The lock itself is on the node; this is so that people and other tools see it.
 * @throws Error when the API refuses or does not answer
 */
export async function noteOn(config: KubeConfig, namespace: string, note: Note): Promise<void> {
  await Promise.all([event(config, note), lease(config, namespace, note)]);
}

async function event(config: KubeConfig, { node, reason, says }: Note): Promise<void> {
  const { metadata } = await config.makeApiClient(CoreV1Api).readNode({ name: node });
  await config.makeApiClient(EventsV1Api).createNamespacedEvent({
    // Events of objects without a namespace are kept in this one.
    namespace: 'default',
    body: {
      metadata: { name: `undrop.${node}.${randomBytes(6).toString('hex')}`, namespace: 'default' },
      eventTime: new V1MicroTime(),
      reportingController: 'undrop.dev/change',
      reportingInstance: node,
      type: reason === 'ChangeStuck' ? 'Warning' : 'Normal',
      action: 'Change',
      reason,
      note: says.slice(0, 1000),
      regarding: { apiVersion: 'v1', kind: 'Node', name: node, ...(metadata?.uid && { uid: metadata.uid }) },
    },
  });
}

async function lease(config: KubeConfig, namespace: string, { node, holder }: Note): Promise<void> {
  const api = config.makeApiClient(CoordinationV1Api);
  const name = `undrop-${node}`;
  await api.deleteNamespacedLease({ name, namespace }).catch((error: unknown) => {
    if (!(error !== null && typeof error === 'object' && 'code' in error && error.code === 404)) throw error;
  });
  if (holder === undefined) return;
  const spec = { holderIdentity: holder, acquireTime: new V1MicroTime() };
  await api.createNamespacedLease({ namespace, body: { metadata: { name, namespace }, spec } });
}
