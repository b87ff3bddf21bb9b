import { createHmac, timingSafeEqual } from 'node:crypto';

/** The key types that a known_hosts file has for a host, and a check of the key that the host shows. */
export interface KnownHost {
  types: string[];
  matches(key: Buffer): boolean;
}

/**
 * Looks a host up in the text of a known_hosts file: plain names, `[name]:port`, hashed names, `@revoked`.
 * Certificate authorities and wildcards are not supported: such a host counts as unknown, never as trusted.
 */
export function knownHost(text: string, host: string, port: number): KnownHost {
  const name = port === 22 ? host : `[${host}]:${port}`;
  const keys: { type: string; key: Buffer; revoked: boolean }[] = [];
  for (const line of text.split('\n')) {
    // A file of a thousand hosts is read for each of them: only lines that may be about this one are taken apart.
    if (!line.includes(name) && !line.includes('|1|') && !line.includes('@revoked')) continue;
    const fields = line.trim().split(/\s+/);
    const marker = fields[0]?.startsWith('@') ? fields.shift() : undefined;
    const [names = '', type = '', encoded = ''] = fields;
    if (!encoded || line.trimStart().startsWith('#') || marker === '@cert-authority') continue;
    const revoked = marker === '@revoked';
    // A pattern trusts nobody here, but it does revoke: `@revoked * …` is how a stolen key is usually written down.
    if (names.split(',').some((one) => sameName(one, name) || (revoked && /[*?]/.test(one))))
      keys.push({ type, key: Buffer.from(encoded, 'base64'), revoked });
  }
  const same = (a: Buffer, b: Buffer): boolean => a.length === b.length && timingSafeEqual(a, b);
  return {
    types: [...new Set(keys.filter(({ revoked }) => !revoked).map(({ type }) => type))],
    matches: (key) =>
      keys.some((known) => !known.revoked && same(known.key, key)) &&
      !keys.some((known) => known.revoked && same(known.key, key)),
  };
}

function sameName(entry: string, name: string): boolean {
  const hashed = /^\|1\|([^|]+)\|([^|]+)$/.exec(entry);
  if (!hashed?.[1]) return entry === name;
  return createHmac('sha1', Buffer.from(hashed[1], 'base64')).update(name).digest('base64') === hashed[2];
}
