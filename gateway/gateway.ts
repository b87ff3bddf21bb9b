import type { FastifyBaseLogger } from 'fastify';
import type { ParsedKey } from 'ssh2';
import type { EvidenceStore } from '../activities/store.ts';
import type { Reach } from '../client/start.ts';
import type { Runbook } from '../domain/runbook.ts';
import type { GatewayConfig } from './config.ts';
import type { Database } from './database.ts';
import type { Carrier } from './deliver.ts';
import type { Inbox } from './inbox.ts';
import type { Metrics } from './metrics.ts';
import type { Sessions } from './people/sessions.ts';

/** What the gateway's routes work with. */
export interface Gateway extends Reach {
  config: GatewayConfig;
  /** Signs what people decide here. */
  key: ParsedKey;
  database: Database;
  inbox: Inbox;
  carrier: Carrier;
  sessions: Sessions;
  metrics: Metrics;
  runbook: Runbook;
  store: EvidenceStore;
  log: FastifyBaseLogger;
}
