import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { parse, stringify } from 'yaml';
import { Inventory } from '../domain/inventory.ts';
import { FileError, parseYaml } from '../domain/yaml.ts';
import { UserError } from './output.ts';

/**
 * The inventory: `-i FILE`, else UNDROP_INVENTORY, else ./undrop.yaml, else the cluster of kubectl's current context.
 * @throws UserError that names file, line and field of each fault, or says how to get an inventory
 */
export async function readInventory(option?: string): Promise<Inventory> {
  const named = option ?? process.env['UNDROP_INVENTORY'];
  const file = named ?? 'undrop.yaml';
  const text = await readFile(file, 'utf8').catch(async (error: NodeJS.ErrnoException) => {
    const cluster = named === undefined && error.code === 'ENOENT' ? await currentCluster() : undefined;
    if (cluster) return cluster;
    const how =
      named === undefined
        ? 'nor a kubeconfig with a current context to use instead: docs/inventory.md says how to write one, `undrop demo` needs neither'
        : 'docs/inventory.md says how to write one';
    throw new UserError(
      error.code === 'ENOENT' ? `there is no inventory ${file}; ${how}` : `${file}: ${error.message}`,
    );
  });
  try {
    const inventory = parseYaml(text, file, Inventory);
    const { KeyError, sshKey } = await import('../activities/signature.ts');
    const { approvers, gateways } = inventory.approval;
    const keys = [
      ...approvers.map(({ name, key }) => ({ whose: `approver ${name}`, key })),
      ...gateways.map(({ name, key }) => ({ whose: `gateway ${name}`, key })),
    ];
    for (const { whose, key } of keys)
      try {
        if (key !== undefined) sshKey(key);
      } catch (error) {
        if (error instanceof KeyError) throw new UserError(`${file}: the key of ${whose}: ${error.message}`);
        throw error;
      }
    if (inventory.policy === undefined) return inventory;
    const policy = resolve(dirname(file), inventory.policy);
    // A policy that is wrong is to be known now, and not when something is to be changed.
    await (await import('../activities/policy.ts')).loadPolicy(policy);
    return { ...inventory, policy };
  } catch (error) {
    if (error instanceof FileError) throw new UserError(error.message);
    throw error;
  }
}

/** An inventory of kubectl's current context: enough to diagnose; whoever wants changes approved writes a file. */
async function currentCluster(): Promise<string | undefined> {
  const files = process.env['KUBECONFIG']?.split(':').filter(Boolean) ?? [join(homedir(), '.kube', 'config')];
  for (const file of files) {
    const text = await readFile(file, 'utf8').catch(() => undefined);
    const config: unknown = text === undefined ? undefined : parse(text);
    const context =
      config !== null && typeof config === 'object' && 'current-context' in config && config['current-context'];
    if (typeof context !== 'string' || context === '') continue;
    const name =
      context
        .replaceAll(/[^A-Za-z0-9.-]+/g, '-')
        .replaceAll(/^[.-]+|[.-]+$/g, '')
        .slice(0, 60) || 'cluster';
    const image = process.env['UNDROP_AGENT_IMAGE'];
    return stringify({ name, kubernetes: { context, ...(image !== undefined && { image }) } });
  }
  return undefined;
}
