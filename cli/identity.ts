import { readFile } from 'node:fs/promises';
import { homedir, userInfo } from 'node:os';
import { join } from 'node:path';
import type { ParsedKey } from 'ssh2';
import { KeyError, sign, sshKey } from '../activities/signature.ts';
import type { Decision } from '../domain/approval.ts';
import type { Inventory } from '../domain/inventory.ts';
import { UserError } from './output.ts';

const usual = ['id_ed25519', 'id_ecdsa', 'id_rsa'];

/** Reads the private ssh key that decisions are signed with. @throws UserError that says which files were tried */
async function ownKey(file?: string): Promise<ParsedKey> {
  const files = file === undefined ? usual.map((name) => join(homedir(), '.ssh', name)) : [file];
  for (const path of files) {
    const text = await readFile(path).catch(() => undefined);
    if (!text) continue;
    try {
      return sshKey(text);
    } catch (error) {
      if (error instanceof KeyError) throw new UserError(`${path}: ${error.message}`);
      throw error;
    }
  }
  throw new UserError(
    `decisions are signed with your ssh key, and there is none (${files.join(', ')}); give one with --key`,
  );
}

const samePublic = (key: ParsedKey, line: string): boolean => key.getPublicSSH().equals(sshKey(line).getPublicSSH());

/** Who this user is: the approver whose key they have, else their name on this machine. */
export async function whoami({ approval }: Inventory, file?: string): Promise<string> {
  const key = await ownKey(file).catch(() => undefined);
  const approver = key && approval.approvers.find((one) => samePublic(key, one.key));
  return approver?.name ?? userInfo().username;
}

/** Signs a decision as `name`, or as the approver whose key it is. */
export async function signed(
  { approval }: Inventory,
  workflowId: string,
  decision: Pick<Decision, 'digest' | 'decision' | 'reason'>,
  options: { as?: string; key?: string },
): Promise<Decision> {
  const key = await ownKey(options.key);
  const principal =
    options.as ?? approval.approvers.find((one) => samePublic(key, one.key))?.name ?? userInfo().username;
  return sign(workflowId, { ...decision, principal }, key);
}
