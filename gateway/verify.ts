import { type KeyObject, createHash, createHmac, createPublicKey, timingSafeEqual, verify } from 'node:crypto';
import type { Scheme } from './auth-config.ts';
import { type Shared, type Signed, descriptor, publicKey, secretFault } from './schemes.ts';

/** Headers as node:http gives them: names in lower case. */
export type Headers = Readonly<Record<string, string | string[] | undefined>>;

/** Why a message is refused: for the log and a metric. None of it holds a secret or anything that was sent. */
export type Why =
  | 'no such header'
  | 'malformed header'
  | 'malformed timestamp'
  | 'too old'
  | 'from the future'
  | 'malformed id'
  | 'no signature of this scheme'
  | 'no usable secret'
  | 'no secret fits'
  | 'no certificate fits';

/** `id` and `at` (milliseconds since the epoch) are given only where the signature covers them. */
export type Verified = { ok: true; id?: string; at?: number } | { ok: false; why: Why };

/** How far the sender's clock may be from ours, to either side. */
export const toleranceMs = 300_000;
const most = { header: 4096, signatures: 16, id: 256 };

/**
 * Says whether who sent this knows a secret. The sender gets the same answer whatever is wrong.
 * @param secrets all that are valid now; `secretFault` must have found nothing wrong with them
 * @param body the bytes as they came, before any parser
 */
export function verified(
  scheme: Scheme,
  secrets: readonly string[],
  headers: Headers,
  body: Uint8Array,
  nowMs: number,
): Verified {
  const how = descriptor(scheme);
  const value = headers[how.header];
  if (value === undefined || value === '') return refused('no such header');
  if (typeof value !== 'string' || value.length > most.header) return refused('malformed header');
  const usable = secrets.filter((secret) => secretFault(scheme.scheme, secret) === undefined);
  if (usable.length === 0) return refused('no usable secret');
  return 'text' in how ? signed(how, value, usable, headers, body, nowMs) : shared(how, value, usable);
}

const refused = (why: Why): Verified => ({ ok: false, why });

function signed(
  how: Signed,
  value: string,
  secrets: readonly string[],
  headers: Headers,
  body: Uint8Array,
  nowMs: number,
): Verified {
  const entries = (how.list ? value.split(how.list) : [value]).map((entry) => entry.trim());
  if (entries.length > most.signatures) return refused('malformed header');
  const at = how.at && timestamp(how.at, entries, headers);
  if (how.at) {
    if (at === undefined) return refused('malformed timestamp');
    if (Number(at) * 1000 < nowMs - toleranceMs) return refused('too old');
    if (Number(at) * 1000 > nowMs + toleranceMs) return refused('from the future');
  }
  const id = how.id === undefined ? undefined : headers[how.id];
  if (how.id && (typeof id !== 'string' || id.length > most.id || !/^[!-~]+$/.test(id))) return refused('malformed id');
  const values = new Map<string, string | Uint8Array>([['{id}', String(id)], ['{at}', String(at)], ['{body}', body]]); // prettier-ignore
  const parts = how.text.split(/(\{(?:id|at|body)\})/).map((part) => values.get(part) ?? part);

  const macs = decoded(entries, how.prefix, how.encoding, 32);
  const curves = how.ed25519 ? decoded(entries, how.ed25519, 'base64', 64) : [];
  if (macs.length + curves.length === 0) return refused('no signature of this scheme');
  let fits = false;
  // Every secret and every signature is tried, whatever fitted before: the time taken says nothing of which it was.
  for (const secret of secrets) {
    const key = keyOf(how, secret);
    if (typeof key !== 'string' && !(key instanceof Uint8Array)) {
      for (const one of curves) if (verify(null, joined(parts), key, one)) fits = true;
      continue;
    }
    const mac = createHmac('sha256', key);
    for (const part of parts) mac.update(part);
    const expected = mac.digest();
    for (const one of macs) if (timingSafeEqual(one, expected)) fits = true;
  }
  if (!fits) return refused('no secret fits');
  return { ok: true, ...(typeof id === 'string' && { id }), ...(at !== undefined && { at: Number(at) * 1000 }) };
}

const joined = (parts: readonly (string | Uint8Array)[]): Buffer =>
  Buffer.concat(parts.map((part) => Buffer.from(part)));

/** The text itself, as it was signed: `007` is not `7`. */
function timestamp(where: NonNullable<Signed['at']>, entries: readonly string[], headers: Headers): string | undefined {
  const text = 'header' in where ? headers[where.header] : entries.find((one) => one.startsWith(where.field))?.slice(where.field.length); // prettier-ignore
  return typeof text === 'string' && /^\d{1,12}$/.test(text) ? text : undefined;
}

/** Signatures of the right prefix, alphabet and length: Buffer.from alone drops what it cannot read. */
function decoded(entries: readonly string[], prefix: string, encoding: 'hex' | 'base64', bytes: number): Buffer[] {
  const form = encoding === 'hex' ? new RegExp(`^[0-9a-f]{${2 * bytes}}$`, 'i') : /^[A-Za-z0-9+/]+={0,2}$/;
  return entries
    .filter((entry) => entry.startsWith(prefix))
    .map((entry) => entry.slice(prefix.length))
    .filter((text) => form.test(text))
    .map((text) => Buffer.from(text, encoding))
    .filter(({ length }) => length === bytes);
}

function keyOf(how: Signed, secret: string): string | Buffer | KeyObject {
  if (how.key === 'text') return secret;
  if (!secret.startsWith(publicKey)) return Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
  const x = Buffer.from(secret.slice(publicKey.length), 'base64').toString('base64url');
  return createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
}

function shared(how: Shared, value: string, secrets: readonly string[]): Verified {
  const sent = how.word ? new RegExp(`^${how.word} +(\\S+)$`, 'i').exec(value)?.[1] : value;
  if (sent === undefined) return refused('malformed header');
  const hash = sha256(how.word === 'basic' ? Buffer.from(sent, 'base64') : sent);
  let fits = false;
  // Hashes have one length, so that comparing them says nothing of the secret's.
  for (const secret of secrets) if (timingSafeEqual(hash, sha256(secret))) fits = true;
  return fits ? { ok: true } : refused('no secret fits');
}

const sha256 = (text: string | Uint8Array): Buffer => createHash('sha256').update(text).digest();
