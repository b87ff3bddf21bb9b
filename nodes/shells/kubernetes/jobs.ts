import { setTimeout as sleep } from 'node:timers/promises';
import type { BatchV1Api, CoreV1Api, V1PodSpec } from '@kubernetes/client-node';
import type { KubernetesSpec } from '../../../domain/inventory.ts';
import { asked } from './api.ts';
import { ApiError } from './errors.ts';

export const component = 'app.kubernetes.io/component';
/** The run that something was made for. */
const runLabel = 'undrop.dev/run';

/** What undrop makes in a cluster ends itself after this time, and the cluster then removes it. */
const lifeSeconds = 900;
const startMs = 20_000;
/** A Job has a pod after this time, or something forbids it. */
const patienceMs = 1_500;

/** Pods for a while, as Jobs: the cluster itself removes a Job whose time is over, also when undrop was killed. */
export class Jobs {
  private readonly core: CoreV1Api;
  private readonly batch: BatchV1Api;
  private readonly namespace: string;

  constructor(core: CoreV1Api, batch: BatchV1Api, namespace: string) {
    this.core = core;
    this.batch = batch;
    this.namespace = namespace;
  }

  /**
   * Makes a Job of this name unless it is there, and waits until its pod runs. Returns the pod's name.
   * @throws ApiError when it may not be made or does not start; then nothing is left
   */
  async running(name: string, { pod, run }: { pod: V1PodSpec; run?: string }): Promise<string> {
    const labels = {
      'app.kubernetes.io/name': 'undrop',
      'app.kubernetes.io/managed-by': 'undrop',
      [component]: 'for-a-while',
      ...(run !== undefined && { [runLabel]: run }),
    };
    const body = {
      metadata: { name, labels },
      spec: {
        activeDeadlineSeconds: lifeSeconds,
        ttlSecondsAfterFinished: 0,
        backoffLimit: 0,
        template: { metadata: { labels }, spec: pod },
      },
    };
    const made = this.batch.createNamespacedJob({ namespace: this.namespace, body });
    await asked(`making the Job ${name}`, made).catch((error: unknown) => {
      // Another attempt of the same run has made it.
      if (!(error instanceof ApiError && error.status === 409)) throw error;
    });
    try {
      return await this.started(name);
    } catch (error) {
      await this.remove(name).catch(() => {});
      throw error;
    }
  }

  async remove(name: string): Promise<void> {
    const namespace = this.namespace;
    const gone = this.batch.deleteNamespacedJob({ name, namespace, propagationPolicy: 'Background' });
    await asked(`removing the Job ${name}`, gone);
  }

  async removeOf(run: string): Promise<void> {
    const { namespace } = this;
    const list = this.batch.listNamespacedJob({ namespace, labelSelector: `${runLabel}=${run}` });
    const { items } = await asked(`looking for Jobs of run ${run}`, list);
    await Promise.all(items.map(({ metadata }) => this.remove(metadata?.name ?? '')));
  }

  private async started(job: string): Promise<string> {
    const { namespace } = this;
    const labelSelector = `batch.kubernetes.io/job-name=${job}`;
    const since = performance.now();
    for (;;) {
      const list = await asked(`waiting for ${job}`, this.core.listNamespacedPod({ namespace, labelSelector }));
      const [pod] = list.items;
      const state = pod?.status?.containerStatuses?.[0]?.state;
      if (state?.running && pod?.metadata?.name) return pod.metadata.name;
      const waited = performance.now() - since;
      if (!pod && waited > patienceMs) {
        const why = await this.refusal(job);
        if (why || waited > startMs) throw new ApiError(`${job} gets no pod: ${why || 'the cluster does not say why'}`);
      }
      const why = state?.waiting?.reason ?? state?.terminated?.reason ?? pod?.status?.reason;
      if (/^(ErrImage|ImagePullBackOff|CreateContainer|InvalidImage|Outof|NodeAffinity)/.test(why ?? ''))
        throw new ApiError(`${job} does not start: ${why} (image ${pod?.spec?.containers[0]?.image ?? ''})`);
      if (waited > startMs) throw new ApiError(`${job} does not start: ${why ?? 'the kubelet says nothing'}`);
      await sleep(150);
    }
  }

  /** Why a Job has no pod, or '': admission, such as Pod Security, tells it in an event only. */
  private async refusal(job: string): Promise<string> {
    const fieldSelector = `involvedObject.name=${job},reason=FailedCreate`;
    const { namespace } = this;
    const events = await asked(`events of ${job}`, this.core.listNamespacedEvent({ namespace, fieldSelector })).catch(
      () => undefined,
    );
    return events?.items.at(-1)?.message ?? '';
  }
}

/** What the agents may do beyond an ordinary pod: enter network namespaces, read rules, tables and the kernel's log. */
const capabilities = [
  'NET_ADMIN',
  'NET_RAW',
  'SYS_ADMIN',
  'SYS_PTRACE',
  'SYSLOG',
  'SYS_NICE',
  'DAC_READ_SEARCH',
  'KILL',
];

/** A pod like the agent's, bound to its node by name, since a scheduler may refuse a node in trouble. */
export const agentPod = (nodeName: string, { image }: KubernetesSpec): V1PodSpec => ({
  nodeName,
  hostPID: true,
  hostNetwork: true,
  restartPolicy: 'Never',
  terminationGracePeriodSeconds: 0,
  automountServiceAccountToken: false,
  tolerations: [{ operator: 'Exists' }],
  containers: [
    {
      name: 'agent',
      image,
      command: ['sleep', String(lifeSeconds)],
      resources: { requests: { cpu: '10m', memory: '32Mi' }, limits: { memory: '256Mi' } },
      securityContext: {
        runAsUser: 0,
        appArmorProfile: { type: 'Unconfined' },
        seccompProfile: { type: 'Unconfined' },
        capabilities: { drop: ['ALL'], add: capabilities },
      },
    },
  ],
});

/** An ordinary pod without any right: probes enter its network namespace from the node. */
export const senderPod = (nodeName: string, { image }: KubernetesSpec): V1PodSpec => ({
  nodeName,
  restartPolicy: 'Never',
  terminationGracePeriodSeconds: 0,
  automountServiceAccountToken: false,
  containers: [
    {
      name: 'agent',
      image,
      command: ['sleep', String(lifeSeconds)],
      resources: { requests: { cpu: '1m', memory: '8Mi' }, limits: { memory: '32Mi' } },
      securityContext: {
        runAsNonRoot: true,
        runAsUser: 65534,
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      },
    },
  ],
});
