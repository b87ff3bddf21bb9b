import type { Inventory } from '../../domain/inventory.ts';
import type { Agent } from './kubernetes/agents.ts';
import type { Cluster } from './kubernetes/cluster.ts';
import { KubernetesShell } from './kubernetes/shell.ts';
import { ProcessShell } from './process.ts';
import { SshShell } from './ssh.ts';
import type { Shell } from './shell.ts';

/** The shells of an inventory's nodes, kept open between commands: a node in trouble may refuse every new session. */
export class ShellPool {
  private readonly shells = new Map<string, Shell>();
  private readonly inventory: Inventory;
  private made: Promise<Cluster> | undefined;

  constructor(inventory: Inventory) {
    this.inventory = inventory;
  }

  /** The cluster that is the inventory. @throws ApiError when its kubeconfig cannot be used */
  async cluster(): Promise<Cluster> {
    const { kubernetes } = this.inventory;
    if (!kubernetes) throw new Error('the inventory is no cluster');
    // The client library takes half a second to load, which other inventories do not need.
    this.made ??= import('./kubernetes/cluster.ts').then((module) => new module.Cluster(kubernetes));
    return this.made;
  }

  /** The shell for reading and probing. @throws Error when the inventory has no such node */
  of(node: string): Shell {
    return this.kept(node, 'agent');
  }

  /** Shells for reading that reach a node only by an agent that is there: nothing is made in the cluster. */
  get existing(): Pick<ShellPool, 'of'> {
    return { of: (node) => this.kept(node, 'agent', false) };
  }

  /** The shell for changes: in a cluster another pod, with more rights. */
  changing(node: string): Shell {
    return this.kept(node, this.inventory.kubernetes ? 'changer' : 'agent');
  }

  /** Ends all sessions, and removes what pods were made for them. */
  async close(): Promise<void> {
    for (const shell of this.shells.values()) shell.close();
    this.shells.clear();
    await (await this.made?.catch(() => undefined))?.agents.close();
  }

  private kept(node: string, agent: Agent, making = true): Shell {
    const key = `${agent} ${node}${making ? '' : ' existing'}`;
    const shell = this.shells.get(key) ?? this.make(node, agent, making);
    this.shells.set(key, shell);
    return shell;
  }

  private make(node: string, agent: Agent, making: boolean): Shell {
    if (this.inventory.kubernetes) return new KubernetesShell(() => this.cluster(), node, agent, making);
    const spec = this.inventory.nodes[node]?.shell;
    if (!spec) throw new Error(`the inventory has no node "${node}"`);
    if (spec === 'local') return new ProcessShell();
    return 'netns' in spec ? new ProcessShell(spec.netns) : new SshShell(spec.ssh);
  }
}
