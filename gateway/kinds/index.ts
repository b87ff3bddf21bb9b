import { type Alert, alertOf } from '../../domain/alert.ts';
import { plainText } from '../../domain/plain-text.ts';
import type { SchemeName } from '../auth-config.ts';
import type { Headers } from '../verify.ts';
import { alertmanager } from './alertmanager.ts';
import { cloudevents } from './cloudevents.ts';
import { firehydrant } from './firehydrant.ts';
import { grafanaOnCall } from './grafana-oncall.ts';
import { grafana } from './grafana.ts';
import { incidentio } from './incidentio.ts';
import { type Mapping, mapped } from './mapping.ts';
import { opsgenie } from './opsgenie.ts';
import { pagerduty } from './pagerduty.ts';
import { rootly } from './rootly.ts';
import { type Said, ignored } from './said.ts';
import { standard } from './standard.ts';

export interface Kind {
  /** Pure, and made for bodies of any shape: it throws for none. */
  said: (body: unknown, headers: Headers, mapping?: Mapping) => Said;
  /** The scheme of sources of this kind that name none. */
  auth: SchemeName;
  /**
   * The sender is documented to send again after a 5xx, so that 503 loses nothing. Of all others a message that is not
   * taken is gone: it must be stored first.
   */
  retries: boolean;
  /** How replays are found with the default scheme; `replayOf` says it of any. */
  replay: 'timestamp' | 'store';
  /** Whether a mapping is needed, may be given, or has no meaning. */
  mapping?: 'needed' | 'allowed';
}

export const kinds = {
  // A 5xx is tried again within the flush, and at each group_interval while the group exists. A 4xx is not.
  alertmanager: { said: alertmanager, auth: 'bearer', retries: true, replay: 'store' },
  grafana: { said: grafana, auth: 'grafana', retries: false, replay: 'store' },
  'grafana-oncall': { said: grafanaOnCall, auth: 'bearer', retries: false, replay: 'store' },
  // 5xx, 429 and silence for 5 s: five attempts within 20 minutes. Three lost messages disable it for a day.
  pagerduty: { said: pagerduty, auth: 'pagerduty', retries: true, replay: 'store' },
  opsgenie: { said: opsgenie, auth: 'header', retries: false, replay: 'store' },
  jsm: { said: opsgenie, auth: 'header', retries: false, replay: 'store' },
  // Svix: 24 hours.
  incidentio: { said: incidentio, auth: 'standard-webhooks', retries: true, replay: 'timestamp' },
  rootly: { said: rootly, auth: 'rootly', retries: false, replay: 'timestamp' },
  firehydrant: { said: firehydrant, auth: 'firehydrant', retries: false, replay: 'store' },
  cloudevents: { said: cloudevents, auth: 'bearer', retries: false, replay: 'store', mapping: 'allowed' },
  // The specification asks senders to retry; whether one does is not known.
  standard: { said: standard, auth: 'standard-webhooks', retries: false, replay: 'timestamp', mapping: 'allowed' },
  generic: {
    said: (body, _headers, mapping) => (mapping ? mapped(mapping, body) : ignored('no mapping is configured')),
    auth: 'bearer',
    retries: false,
    replay: 'store',
    mapping: 'needed',
  },
} as const satisfies Record<string, Kind>;
export type KindName = keyof typeof kinds;

/** More problems than one message can honestly be about. */
const mostAlerts = 2000;

export interface Normalised {
  /** The sender's id of this delivery, repeated when it is sent again; not covered by every scheme's signature. */
  delivery?: string;
  alerts: Alert[];
  /** Why nothing or not all of the body became an alert: for people and the log. It quotes what a stranger wrote. */
  ignored?: string;
}

/**
 * Reads a body. Unknown keys are fine, and missing ones that it can do without; a shape that is not known gives no
 * alerts and says why, and is to be acknowledged: sending it again would not help. Never throws.
 * @param source the configured name of the sender
 * @param body what `readJson` gave; undefined where it was no JSON
 */
export function normalised(
  source: string,
  kind: KindName,
  body: unknown,
  headers: Headers,
  mapping?: Mapping,
): Normalised {
  if (body === undefined) return { alerts: [], ignored: 'the body is no JSON' };
  let said: Said;
  try {
    const { said: read }: Kind = kinds[kind];
    said = read(body, headers, mapping);
  } catch (error) {
    // A fault of ours; answered with an error, it would come back for hours.
    said = ignored(`undrop could not read it: ${error instanceof Error ? error.name : 'error'}`);
  }
  const why = [said.ignored];
  const taken = said.drafts.slice(0, mostAlerts);
  const alerts = taken.flatMap((draft) => alertOf(source, draft) ?? []);
  const nameless = taken.length - alerts.length;
  if (said.drafts.length > mostAlerts) why.push(`${said.drafts.length - mostAlerts} alerts beyond ${mostAlerts}`);
  if (nameless) why.push(`${nameless} of ${taken.length} alerts name no problem`);
  const delivery = typeof said.delivery === 'string' ? plainText(said.delivery, 300) : '';
  const text = why.filter(Boolean).join('; ') || (alerts.length ? '' : 'there is nothing in it');
  return { ...(delivery && { delivery }), alerts, ...(text && { ignored: text }) };
}
