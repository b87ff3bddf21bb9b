import { readFile } from 'node:fs/promises';
import { homedir, userInfo } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import ssh2, { type ParsedKey } from 'ssh2';
import { KeyError, sign, sshKey } from '../activities/signature.ts';
import { type Decision, signedText } from '../domain/approval.ts';
import type { Inventory } from '../domain/inventory.ts';
import { UserError } from './output.ts';

const usual = ['id_ed25519', 'id_ecdsa', 'id_rsa'];

/** Something that signs as one person: a key file, or a key that the ssh agent holds. */
interface Signer {
  publicKey: Buffer;
  sign(workflowId: string, decision: Omit<Decision, 'signature'>): Promise<Decision>;
}

/** @throws UserError that says which files were tried and what to do */
async function signers(file?: string): Promise<Signer[]> {
  const files = file === undefined ? usual.map((name) => join(homedir(), '.ssh', name)) : [file];
  const refused: string[] = [];
  const found: Signer[] = [];
  for (const path of files) {
    const text = await readFile(path).catch(() => undefined);
    if (!text) continue;
    try {
      found.push(ofKey(sshKey(text)));
    } catch (error) {
      if (!(error instanceof KeyError)) throw error;
      refused.push(`${path}: ${error.message}`);
    }
  }
  if (file === undefined) found.push(...(await ofAgent()));
  if (found.length > 0) return found;
  const tried = refused.length ? refused.join('; ') : `there is none (${files.join(', ')}, ssh agent)`;
  throw new UserError(`decisions are signed with your ssh key, and ${tried}; give one with --key, or ssh-add it`);
}

const ofKey = (key: ParsedKey): Signer => ({
  publicKey: key.getPublicSSH(),
  sign: async (workflowId, decision) => sign(workflowId, decision, key),
});

/** Keys of the agent that SSH_AUTH_SOCK names; none where there is no agent. */
async function ofAgent(): Promise<Signer[]> {
  const socket = process.env['SSH_AUTH_SOCK'];
  if (!socket) return [];
  const agent = ssh2.createAgent(socket);
  const keys = await promisify(agent.getIdentities.bind(agent))().catch(() => []);
  return (keys ?? []).flatMap((one): Signer[] => {
    const key = one as ParsedKey;
    if (typeof key.getPublicSSH !== 'function') return [];
    return [
      {
        publicKey: key.getPublicSSH(),
        sign: async (workflowId, decision) => {
          const text = Buffer.from(signedText(workflowId, decision));
          const hash = key.type === 'ssh-rsa' ? { hash: 'sha512' as const } : {};
          const signature = await new Promise<Buffer>((resolve, reject) => {
            agent.sign(key, text, hash, (error, made) =>
              made ? resolve(made) : reject(error ?? new Error('no answer')),
            );
          }).catch((error: unknown) => {
            throw new UserError(
              `the ssh agent does not sign: ${error instanceof Error ? error.message : String(error)}`,
            );
          });
          return { ...decision, signature: signature.toString('base64') };
        },
      },
    ];
  });
}

const belongsTo = ({ publicKey }: Signer, line: string | undefined): boolean =>
  line !== undefined && publicKey.equals(sshKey(line).getPublicSSH());

/** Who this user is: the approver whose key they have, else their name on this machine. */
export async function whoami({ approval }: Inventory): Promise<string> {
  const own = await signers().catch(() => []);
  const approver = approval.approvers.find(({ key }) => own.some((one) => belongsTo(one, key)));
  return approver?.name ?? userInfo().username;
}

/** Signs a decision as `name`, or as the approver whose key it is. */
export async function signed(
  { approval }: Inventory,
  workflowId: string,
  decision: Pick<Decision, 'digest' | 'decision' | 'reason'>,
  options: { as?: string; key?: string },
): Promise<Decision> {
  const own = await signers(options.key);
  const whose = (name?: string) =>
    own.flatMap((signer) =>
      approval.approvers.flatMap((one) =>
        belongsTo(signer, one.key) && (name === undefined || one.name === name) ? [{ signer, name: one.name }] : [],
      ),
    )[0];
  const [first] = own;
  const chosen = whose(options.as) ?? (first && { signer: first, name: options.as ?? userInfo().username });
  if (!chosen) throw new UserError('there is no key to sign with');
  return chosen.signer.sign(workflowId, { ...decision, principal: chosen.name });
}
