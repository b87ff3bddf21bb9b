import { randomBytes } from 'node:crypto';
import type { CoreV1Api, V1Pod } from '@kubernetes/client-node';
import { digestOf } from '../../../domain/digest.ts';
import type { KubernetesSpec } from '../../../domain/inventory.ts';
import { asked } from './api.ts';
import { ApiError, NoChanger } from './errors.ts';
import { type Jobs, agentPod, component, senderPod } from './jobs.ts';
import type { Container } from './session.ts';

/** `agent` reads and probes; `changer` is privileged, and is there only where remediation is switched on. */
export type Agent = 'agent' | 'changer';

/** One list of all agents serves this long: a hundred nodes are asked for at the same time. */
const freshMs = 3_000;

/** Finds the agents' pods; where a node has none, makes one for a while. */
export class Agents {
  private readonly api: CoreV1Api;
  private readonly jobs: Jobs;
  private readonly spec: KubernetesSpec;
  private readonly lists = new Map<Agent, { at: number; pods: Promise<V1Pod[]> }>();
  private readonly made = new Set<string>();

  constructor(api: CoreV1Api, jobs: Jobs, spec: KubernetesSpec) {
    this.api = api;
    this.jobs = jobs;
    this.spec = spec;
  }

  /**
   * The container on a node by which undrop reaches it.
   * @param making whether an agent may be made for a while where there is none
   * @throws ApiError that says why there is none, and what to do
   */
  async on(node: string, agent: Agent, making = true): Promise<Container> {
    const pods = await this.list(agent);
    const here = pods.filter((pod) => pod.spec?.nodeName === node && !pod.metadata?.deletionTimestamp);
    const running = here.find((pod) => pod.status?.containerStatuses?.some(({ state }) => state?.running));
    if (running?.metadata?.name) return this.container(running.metadata.name);
    if (agent === 'changer')
      throw new NoChanger(
        `${node} has no running pod of the changer, so nothing can be changed there: the chart makes it with changer.enabled=true`,
      );
    if (!making)
      throw new ApiError(`${node} has no agent (the chart installs it), and none is made where nothing may be`);
    return this.container(await this.make(node));
  }

  /**
   * A pod of undrop's own on a node, to send from: made if it is not there yet, named by node and run, so that every
   * attempt of a run finds the same one. `sweep` removes it; if nobody does, the cluster does when its time is over.
   * @throws ApiError when it may not be made or does not start
   */
  async sender(node: string, run: string): Promise<{ namespace: string; name: string }> {
    // Names of nodes may be long, and those of Jobs may not.
    const name = `undrop-sender-${digestOf([node, run]).slice(0, 16)}`;
    const pod = await this.jobs.running(name, { run, pod: senderPod(node, this.spec) });
    return { namespace: this.spec.namespace, name: pod };
  }

  /** Removes what was made for a run, by whichever process. */
  async sweep(run: string): Promise<void> {
    await this.jobs.removeOf(run);
  }

  /** Removes what this process made to reach nodes. */
  async close(): Promise<void> {
    const names = [...this.made];
    this.made.clear();
    await Promise.allSettled(names.map((name) => this.jobs.remove(name)));
  }

  private container = (pod: string): Container => ({ namespace: this.spec.namespace, pod, container: 'agent' });

  private list(agent: Agent): Promise<V1Pod[]> {
    const known = this.lists.get(agent);
    if (known && performance.now() - known.at < freshMs) return known.pods;
    const { namespace } = this.spec;
    const pods = asked(
      `looking for agents in namespace ${namespace}`,
      this.api.listNamespacedPod({ namespace, labelSelector: `app.kubernetes.io/name=undrop,${component}=${agent}` }),
    ).then(({ items }) => items);
    this.lists.set(agent, { at: performance.now(), pods });
    return pods;
  }

  private async make(node: string): Promise<string> {
    await asked(`reading node ${node}`, this.api.readNode({ name: node })).catch((error: unknown) => {
      if (error instanceof ApiError && error.status === 404) throw new ApiError(`the cluster has no node ${node}`, 404);
    });
    const name = `undrop-agent-${randomBytes(4).toString('hex')}`;
    this.made.add(name);
    try {
      return await this.jobs.running(name, { pod: agentPod(node, this.spec) });
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new ApiError(`${node} has no agent (the chart installs it), and one for a while could not be made: ${why}`);
    }
  }
}
