import { readFile } from 'node:fs/promises';
import { Inventory } from '../domain/inventory.ts';
import { FileError, parseYaml } from '../domain/yaml.ts';
import { UserError } from './output.ts';

/**
 * Reads the inventory: `-i FILE`, else UNDROP_INVENTORY, else ./undrop.yaml.
 * @throws UserError that names file, line and field of each fault, or says how to get an inventory
 */
export async function readInventory(option?: string): Promise<Inventory> {
  const file = option ?? process.env['UNDROP_INVENTORY'] ?? 'undrop.yaml';
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    const how = 'docs/inventory.md says how to write one; `undrop demo` needs none';
    throw new UserError(
      error.code === 'ENOENT' ? `there is no inventory ${file}; ${how}` : `${file}: ${error.message}`,
    );
  });
  try {
    const inventory = parseYaml(text, file, Inventory);
    const { KeyError, sshKey } = await import('../activities/signature.ts');
    for (const { name, key } of inventory.approval.approvers)
      try {
        sshKey(key);
      } catch (error) {
        if (error instanceof KeyError) throw new UserError(`${file}: the key of approver ${name}: ${error.message}`);
        throw error;
      }
    return inventory;
  } catch (error) {
    if (error instanceof FileError) throw new UserError(error.message);
    throw error;
  }
}
