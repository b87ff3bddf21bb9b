import { createHash } from 'node:crypto';
import type { Alert } from '../domain/alert.ts';
import { readJson } from './json.ts';
import { normalised } from './kinds/index.ts';
import { replayOf } from './schemes.ts';
import type { Source } from './source-config.ts';
import { type Headers, type Verified, type Why, toleranceMs, verified } from './verify.ts';

/** A body larger than this is refused before it is read. */
export const mostBytes = 256 * 1024;

const dayMs = 24 * 3_600_000;
/** Who sends a plain secret, or has the certificate's key, could not replay anything that it could not make up; its notification of the same again is news. */
const retryMs = 300_000;

function remembered({ auth }: Source): number {
  if (auth.scheme !== 'certificate' && replayOf(auth) === 'timestamp') return 2 * toleranceMs;
  return ['bearer', 'basic', 'header', 'certificate'].includes(auth.scheme) ? retryMs : dayMs;
}

export type Taken =
  /** The answer is the same for every `why`, which is for the log and a metric. */
  | { ok: false; why: Why }
  | {
      ok: true;
      /** The same for the same delivery, however often it comes; a digest, so any sender's id fits anywhere. */
      delivery: string;
      /** How long a delivery must be remembered, so that a copy of it has no effect. */
      rememberMs: number;
      /** What it says, of each problem at least one Alert; none where it is to be acknowledged and left alone. */
      alerts: Alert[];
      ignored?: string;
    };

/**
 * The pure half of the ingress: authenticates a message, reads it, and says what it says.
 * @param name the source's configured name
 * @param known what `secretsOf` read of `source.auth`, and the names that the sender's certificate proves
 * @param body the bytes as they came, at most `mostBytes`
 */
export function taken(
  name: string,
  source: Source,
  known: { secrets: readonly string[]; names: readonly string[] },
  headers: Headers,
  body: Uint8Array,
  nowMs: number,
): Taken {
  const { auth } = source;
  const how: Verified =
    auth.scheme !== 'certificate'
      ? verified(auth, known.secrets, headers, body, nowMs)
      : auth.names.some((name) => known.names.includes(name))
        ? { ok: true }
        : { ok: false, why: 'no certificate fits' };
  if (!how.ok) return how;
  const { delivery, alerts, ignored } = normalised(name, source.kind, readJson(body), headers, source.mapping);
  // An id in the body is covered by what covers the body; of headers only those that are signed count.
  const id = how.id ?? delivery;
  const hash = createHash('sha256').update(JSON.stringify([name, id === undefined ? 'body' : 'id', id ?? '']));
  if (id === undefined) hash.update(body);
  return {
    ok: true,
    delivery: hash.digest('hex'),
    rememberMs: remembered(source),
    alerts,
    ...(ignored !== undefined && { ignored }),
  };
}
