import { BatchV1Api, type CoreV1Api, type KubeConfig } from '@kubernetes/client-node';
import type { KubernetesSpec } from '../../../domain/inventory.ts';
import { Agents } from './agents.ts';
import { asked, core, kubeConfig } from './api.ts';
import { ApiError } from './errors.ts';
import { Jobs } from './jobs.ts';

/** The way to all nodes of one cluster: one configuration, one list of agents. */
export class Cluster {
  readonly config: KubeConfig;
  readonly core: CoreV1Api;
  readonly spec: KubernetesSpec;
  readonly agents: Agents;

  /** @throws ApiError when the kubeconfig is not there or names no such context */
  constructor(spec: KubernetesSpec) {
    this.spec = spec;
    this.config = kubeConfig(spec);
    this.core = core(this.config);
    const jobs = new Jobs(this.core, this.config.makeApiClient(BatchV1Api), spec.namespace);
    this.agents = new Agents(this.core, jobs, spec);
  }

  /** Why a node may not answer, as far as Kubernetes knows. */
  async saysOf(name: string): Promise<string> {
    try {
      const node = await asked(`reading node ${name}`, this.core.readNode({ name }), 3_000);
      const ready = node.status?.conditions?.find(({ type }) => type === 'Ready');
      if (ready?.status === 'True')
        return 'Kubernetes calls the node Ready: a node whose conntrack table is full refuses new sessions like this (a Service in `watch` of the inventory has them opened before)';
      return `Kubernetes calls the node not Ready: ${ready?.message ?? ready?.reason ?? 'it says no more'}`;
    } catch (error) {
      return error instanceof ApiError && error.status === 404 ? 'the cluster has no such node' : '';
    }
  }
}
