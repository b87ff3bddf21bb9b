import ssh2, { type ParsedKey } from 'ssh2';
import { type ApprovalRules, type Decision, keyFor, signedText } from '../domain/approval.ts';

/** The ssh key cannot be used; the message says why and what to do. */
export class KeyError extends Error {}

/** @param text an OpenSSH private key without passphrase, or a public key line */
export function sshKey(text: string | Buffer): ParsedKey {
  const key = ssh2.utils.parseKey(text);
  if (key instanceof Error) {
    const locked = /passphrase|encrypted/i.test(key.message);
    throw new KeyError(locked ? 'it has a passphrase' : key.message);
  }
  const [first] = Array.isArray(key) ? key : [key];
  if (!first) throw new KeyError('there is no key in it');
  return first;
}

/** Its public half, as a line of an inventory has it. */
export const publicLine = (key: ParsedKey): string => `${key.type} ${key.getPublicSSH().toString('base64')}`;

/** A new ed25519 key in OpenSSH's form. Of 3,000 that ssh2 1.17 wrote it could not read 9 itself: such a one is made anew. */
export function newKey(): string {
  for (;;) {
    const { private: made } = ssh2.utils.generateKeyPairSync('ed25519');
    if (!(ssh2.utils.parseKey(made) instanceof Error)) return made;
  }
}

/** RSA keys sign with SHA-2 here; the others have one way only. */
const algorithm = (key: ParsedKey): string | undefined => (key.type === 'ssh-rsa' ? 'rsa-sha2-512' : undefined);

/** Signs a decision with a private key; the signature is base64. */
export function sign(workflowId: string, decision: Omit<Decision, 'signature'>, key: ParsedKey): Decision {
  const signature: unknown = key.sign(signedText(workflowId, decision), algorithm(key));
  if (!Buffer.isBuffer(signature)) throw new KeyError(`the key cannot sign: ${String(signature)}`);
  return { ...decision, signature: signature.toString('base64') };
}

/** Whether the decision was signed with this public key, for exactly this workflow, plan, answer and reason. */
export function signedBy(workflowId: string, decision: Decision, publicKey: string): boolean {
  const key = sshKey(publicKey);
  const signature = Buffer.from(decision.signature, 'base64');
  return key.verify(signedText(workflowId, decision), signature, algorithm(key)) === true;
}

/** Why a decision is not the one that its key signed, or undefined. */
export function forged(rules: ApprovalRules, workflowId: string, decision: Decision): string | undefined {
  const { principal, via } = decision;
  const key = keyFor(rules, decision);
  if (key !== undefined && signedBy(workflowId, decision, key)) return undefined;
  return via === undefined
    ? `the decision is not signed by ${principal}'s key`
    : `the decision of ${principal} is not signed by the key of the gateway ${via}`;
}
