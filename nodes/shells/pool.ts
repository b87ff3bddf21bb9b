import type { Inventory } from '../../domain/inventory.ts';
import { ProcessShell } from './process.ts';
import { SshShell } from './ssh.ts';
import type { Shell } from './shell.ts';

/** The shells of an inventory's nodes, kept open between commands: a node in trouble may refuse every new session. */
export class ShellPool {
  private readonly shells = new Map<string, Shell>();
  private readonly inventory: Inventory;

  constructor(inventory: Inventory) {
    this.inventory = inventory;
  }

  /** @throws Error when the inventory has no such node */
  of(node: string): Shell {
    const spec = this.inventory.nodes[node]?.shell;
    if (!spec) throw new Error(`the inventory has no node "${node}"`);
    let shell = this.shells.get(node);
    if (!shell) {
      if (spec === 'local') shell = new ProcessShell();
      else shell = 'netns' in spec ? new ProcessShell(spec.netns) : new SshShell(spec.ssh);
      this.shells.set(node, shell);
    }
    return shell;
  }

  close(): void {
    for (const shell of this.shells.values()) shell.close();
    this.shells.clear();
  }
}
