import type { Scheme, SchemeName } from './auth-config.ts';

/** How a signature is found and what it signs; the text is made of `{id}`, `{at}` and `{body}`. */
export interface Signed {
  header: string;
  /** What stands between several signatures. */
  list?: ' ' | ',';
  prefix: string;
  encoding: 'hex' | 'base64';
  text: string;
  /** Where the time of signing is, in seconds: a header, or a field of the signature's header. */
  at?: { header: string } | { field: string };
  id?: string;
  /** The secret is the key as it is written, or the base64 of it. */
  key: 'text' | 'base64';
  /** Prefix of ed25519 signatures, for secrets that are public keys. */
  ed25519?: string;
}

/** A secret that is sent along. */
export interface Shared {
  header: string;
  word?: 'bearer' | 'basic';
}

const standard = (name: string): Signed => ({
  header: `${name}-signature`, list: ' ', prefix: 'v1,', encoding: 'base64', text: '{id}.{at}.{body}',
  at: { header: `${name}-timestamp` }, id: `${name}-id`, key: 'base64', ed25519: 'v1a,',
}); // prettier-ignore
const hex = { encoding: 'hex', key: 'text' } as const;

/** Every vendor's scheme. Those that can be configured are completed by `descriptor`. */
const schemes: Record<SchemeName, Signed | Shared> = {
  'standard-webhooks': standard('webhook'),
  svix: standard('svix'),
  slack: { header: 'x-slack-signature', prefix: 'v0=', text: 'v0:{at}:{body}', at: { header: 'x-slack-request-timestamp' }, ...hex },
  // X-Webhook-Id is not signed, so it is no id here: who replays a message can change it. The body's event.id is.
  pagerduty: { header: 'x-pagerduty-signature', list: ',', prefix: 'v1=', text: '{body}', ...hex },
  grafana: { header: 'x-grafana-alerting-signature', prefix: '', text: '{body}', ...hex },
  rootly: { header: 'x-rootly-signature', list: ',', prefix: 'v1=', text: '{at}{body}', at: { field: 't=' }, ...hex },
  firehydrant: { header: 'fh-signature', prefix: '', text: '{body}', ...hex },
  hmac: { header: '', list: ',', prefix: '', text: '{body}', ...hex },
  bearer: { header: 'authorization', word: 'bearer' },
  basic: { header: 'authorization', word: 'basic' },
  header: { header: '' },
}; // prettier-ignore

/** The scheme as the table and the configuration say it together. */
export function descriptor(scheme: Scheme): Signed | Shared {
  const base = schemes[scheme.scheme];
  if (scheme.scheme === 'header') return { header: scheme.header };
  if (scheme.scheme === 'grafana') {
    const { header, timestampHeader: at } = scheme;
    return { ...(base as Signed), header, ...(at && { at: { header: at }, text: '{at}:{body}' }) };
  }
  if (scheme.scheme === 'hmac') {
    const { header, prefix, encoding, text, timestampHeader: at, idHeader: id } = scheme;
    return {
      ...(base as Signed),
      header,
      prefix,
      encoding,
      text,
      ...(at && { at: { header: at } }),
      ...(id && { id }),
    };
  }
  return base;
}

const shortest = 16;
export const publicKey = 'whpk_';

/** Why a secret cannot be used with a scheme, without a word of it; undefined where it can. For the start, not for requests. */
export function secretFault(scheme: SchemeName, secret: string): string | undefined {
  // An empty or guessable key signs for everybody.
  if (secret.length < shortest) return `it is shorter than ${shortest} characters`;
  if (scheme === 'basic' && !/^[^:]+:./.test(secret)) return 'it is not USER:PASSWORD';
  if (scheme !== 'standard-webhooks' && scheme !== 'svix') return undefined;
  if (secret.startsWith('whsk_')) return "it is the sender's private key; give the public one, whpk_...";
  const text = secret.replace(/^wh(sec|pk)_/, '');
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(text)) return 'it is not base64';
  const { length } = Buffer.from(text, 'base64');
  if (secret.startsWith(publicKey)) return length === 32 ? undefined : 'a public key has 32 bytes';
  return length < shortest ? `its key is shorter than ${shortest} bytes` : undefined;
}

/**
 * How replays are found. `timestamp`: the time is signed, so ids need be remembered only twice as long as the tolerance.
 * `store`: a copy is valid for ever, so what was seen is remembered for a day or more.
 */
export function replayOf(scheme: Scheme): 'timestamp' | 'store' {
  const how = descriptor(scheme);
  return 'text' in how && how.at ? 'timestamp' : 'store';
}
