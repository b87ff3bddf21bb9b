import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Alert } from '../domain/alert.ts';
import { SecretError } from './auth-config.ts';
import { type GatewayConfig, sourceSecrets } from './config.ts';
import { type Opening, Overtaking, Unreachable } from './deliver.ts';
import type { Gateway } from './gateway.ts';
import type { Delivery, Letters } from './inbox.ts';
import { mostBytes, taken } from './intake.ts';
import { kinds } from './kinds/index.ts';
import { provedNames } from './people/certificates.ts';
import type { Source } from './source-config.ts';
import { aim } from './targets.ts';

/** POST /hooks/NAME: authenticate, read, map to targets, store, bring to the incidents, answer. */
export function hooks(app: FastifyInstance, gateway: Gateway): void {
  const { metrics } = gateway;
  for (const [name, source] of Object.entries(gateway.config.sources)) {
    const limit = app.createRateLimit({ max: source.perMinute, timeWindow: minuteMs, keyGenerator: () => name });
    const within: Within = async (request) => {
      const counted = await limit(request);
      return counted.isAllowed || !counted.isExceeded ? undefined : counted.ttlInSeconds;
    };
    app.post(
      `/hooks/${name}`,
      {
        bodyLimit: mostBytes,
        // Before anything is proved, and by address, which senders behind one proxy share: far from what they may send.
        config: { rateLimit: { max: 10 * source.perMinute, timeWindow: minuteMs } },
        errorHandler: (error) => {
          metrics.deliveries.inc({ source: name, outcome: refusals[error.statusCode ?? 500] ?? 'failed' });
          throw error;
        },
      },
      async (request, reply) => {
        const stop = metrics.answers.startTimer();
        const { status, outcome, answer, after } = await received(gateway, name, source, request, within);
        metrics.deliveries.inc({ source: name, outcome });
        if (after !== undefined) reply.header('retry-after', String(after));
        stop();
        return reply.code(status).send(answer);
      },
    );
  }
}

const minuteMs = 60_000;
const refusals: Record<number, string> = { 413: 'too-large', 429: 'limited' };

/** Counts a message that is proved to be of its source. @returns in how many seconds it may send more, where it sent too many */
type Within = (request: FastifyRequest) => Promise<number | undefined>;

interface Answer {
  status: number;
  outcome: string;
  answer: object;
  /** Seconds after which it may be sent again. */
  after?: number;
}

async function received(
  gateway: Gateway,
  name: string,
  source: Source,
  request: FastifyRequest,
  within: Within,
): Promise<Answer> {
  const { inbox, log } = gateway;
  const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
  let secrets: string[];
  try {
    secrets = sourceSecrets(source);
  } catch (error) {
    if (!(error instanceof SecretError)) throw error;
    log.error({ source: name, why: error.message }, 'nobody can be authenticated');
    return { status: 503, outcome: 'failed', answer: { error: 'this source is not configured completely' }, after: 60 };
  }
  const read = taken(
    name,
    source,
    { secrets, names: provedNames(request.raw.socket) },
    request.headers,
    body,
    Date.now(),
  );
  if (!read.ok) {
    log.warn({ source: name, why: read.why, from: request.ip }, 'message refused');
    return { status: 401, outcome: 'forged', answer: { error: 'not authenticated' } };
  }
  const kind = kinds[source.kind];
  const after = await within(request);
  if (after !== undefined) {
    log.warn({ source: name, perMinute: source.perMinute }, 'too many messages');
    // Who sends again on 503 may take 429 for final, as Alertmanager does.
    const status = kind.retries ? 503 : 429;
    return { status, outcome: 'limited', answer: { error: `more than ${source.perMinute} messages a minute` }, after };
  }
  const { letters, none } = lettersOf(read.alerts, source);
  const told = [read.ignored, ...none].filter((why) => why !== undefined);
  if (told.length) log.info({ source: name, why: told.slice(0, 20) }, 'not all of a message concerns a target');
  if (letters.length === 0) {
    const outcome = read.alerts.length ? 'unmapped' : 'ignored';
    return { status: 200, outcome, answer: { accepted: 0, ignored: told.slice(0, 20) } };
  }
  const delivery: Delivery = { id: read.delivery, rememberMs: read.rememberMs, source: name, letters };
  const { known, received: at } = await inbox.take(delivery);
  if (known === 'done') return { status: 200, outcome: 'repeated', answer: { repeated: true } };
  const answer = { accepted: letters.length, ignored: told.slice(0, 20) };
  const waits: Answer = { status: 202, outcome: 'queued', answer: { ...answer, queued: true } };
  try {
    const incidents = await gateway.carrier.carrySoon({ ...delivery, received: at });
    return incidents ? { status: 200, outcome: 'accepted', answer: { ...answer, incidents } } : waits;
  } catch (error) {
    if (error instanceof Overtaking) return waits;
    if (!(error instanceof Unreachable)) throw error;
    log.warn({ source: name, why: error.message }, 'Temporal does not answer');
    if (!kind.retries) return waits;
    // An earlier copy may have been acknowledged while the engine was slow; that one is kept.
    if (known === 'new') await inbox.refuse(delivery.id);
    const answer = { error: 'try again: undrop cannot reach its engine' };
    return { status: 503, outcome: 'unavailable', answer, after: 5 };
  }
}

/** What an incident is opened with. */
export const openingOf = ({ incidents }: GatewayConfig): Opening => ({
  windowMs: incidents.windowSeconds * 1000,
  propose: incidents.propose,
  atOnce: incidents.atOnce,
});

/** Sorts alerts by the target that they are about. */
function lettersOf(alerts: readonly Alert[], source: Source): { letters: Letters; none: string[] } {
  const byTarget = new Map<string, Letters[number]['reports']>();
  const none: string[] = [];
  for (const alert of alerts) {
    const found = aim(source.targets, alert);
    if ('none' in found) {
      none.push(found.none);
      continue;
    }
    const { source: from, problem, status, title } = alert;
    byTarget.set(found.target, [...(byTarget.get(found.target) ?? []), { source: from, problem, status, title }]);
  }
  return { letters: [...byTarget].map(([target, reports]) => ({ target, reports })), none };
}
