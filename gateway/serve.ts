import { hkdfSync } from 'node:crypto';
import type { Server } from 'node:https';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import cookie from '@fastify/cookie';
import formbody from '@fastify/formbody';
import helmet from '@fastify/helmet';
import rateLimit from '@fastify/rate-limit';
import Fastify, { type FastifyInstance, LogController } from 'fastify';
import { newKey, publicLine, sshKey } from '../activities/signature.ts';
import type { EvidenceStore } from '../activities/store.ts';
import type { Reach } from '../client/start.ts';
import type { Runbook } from '../domain/runbook.ts';
import { api } from './api/index.ts';
import { type GatewayConfig, secretOf } from './config.ts';
import { openDatabase } from './database.ts';
import { Carrier } from './deliver.ts';
import type { Gateway } from './gateway.ts';
import { failed } from './failed.ts';
import { hooks, openingOf } from './hooks.ts';
import { notices } from './notices.ts';
import { pump } from './pump.ts';
import { slack, slackTeller } from './slack.ts';
import { renewTls, tlsOptions } from './tls.ts';
import { webhook } from './webhook.ts';
import { Inbox } from './inbox.ts';
import { Metrics } from './metrics.ts';
import { Sessions } from './people/sessions.ts';
import { web } from './web.ts';

export interface Serving {
  /** Where it listens. */
  address: string;
  /** The public key of its signatures, as the inventory's approval.gateways wants it. */
  publicKey: string;
  app: FastifyInstance;
  /** Answers what is in progress, then stops. */
  close(): Promise<void>;
}

export interface Surroundings {
  reach: Reach;
  runbook: Runbook;
  store: EvidenceStore;
  /** Where its files are. */
  folder: string;
  /** A PostgreSQL database; without it, files in the folder. */
  databaseUrl?: string | undefined;
  level: string;
}

/** Starts the gateway in this process. @throws Error when it cannot listen or has no database */
export async function serve(config: GatewayConfig, around: Surroundings): Promise<Serving> {
  const { reach, runbook, store, folder } = around;
  const privateKey = await keyIn(folder);
  const key = sshKey(privateKey);
  const database = await openDatabase(around.databaseUrl, folder);
  const secret = Buffer.from(hkdfSync('sha256', privateKey, 'undrop', 'cookies', 32));
  const inbox = new Inbox(database);
  const { tls } = config;
  const app = Fastify({
    ...(tls && { https: await tlsOptions(tls) }),
    logger: { level: around.level, redact: ['req.headers.authorization', 'req.headers.cookie'] },
    trustProxy: config.trustProxy.length ? config.trustProxy : false,
    logController: new LogController({ disableRequestLogging: true }),
    requestTimeout: 10_000,
    forceCloseConnections: 'idle',
  });
  const carrier = new Carrier(reach, inbox, openingOf(config), (what) => app.log.error(what));
  const gateway: Gateway = {
    ...reach, config, key, database, inbox, carrier, runbook, store, log: app.log,
    sessions: new Sessions(database, secret),
    metrics: new Metrics(async () => inbox.count()),
  }; // prettier-ignore
  failed(app, reach.inventory.name);
  await app.register(helmet, { contentSecurityPolicy: { directives: { defaultSrc: ["'none'"], styleSrc: ["'self'"], formAction: ["'self'"], frameAncestors: ["'none'"], baseUri: ["'none'"] }, useDefaults: false } }); // prettier-ignore
  await app.register(rateLimit, { global: true, max: 1200, timeWindow: 60_000 });
  await app.register(cookie, { secret: secret.toString('base64') });
  await app.register(async (scope) => {
    // Signatures are over the bytes as they came.
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
    hooks(scope, gateway);
    slack(scope, gateway);
  });
  await app.register(async (scope) => {
    await scope.register(formbody, { bodyLimit: 16_384 });
    web(scope, gateway);
  });
  await api(app, gateway);
  app.get('/healthz', { config: { rateLimit: false } }, () => ({ ok: true }));
  app.get('/readyz', { config: { rateLimit: false } }, async (_, reply) => {
    const [engine, stored] = await Promise.all([
      reach.engine.client.withDeadline(Date.now() + 2000, async () => reach.engine.client.workflowService.getSystemInfo({})).then(() => true, () => false),
      database.query('select 1').then(() => true, () => false),
    ]); // prettier-ignore
    return reply.code(engine && stored ? 200 : 503).send({ temporal: engine, database: stored });
  });
  app.get('/metrics', { config: { rateLimit: false } }, async (_, reply) =>
    reply.type(gateway.metrics.registry.contentType).send(await gateway.metrics.registry.metrics()),
  );
  const stopped = new AbortController();
  const pumping = pump(inbox, carrier, stopped.signal, (what) => app.log.warn(what));
  const tellers = [...slackTeller(gateway), ...config.notify.map(({ url, secret: reference }) => webhook(url, () => secretOf(reference)))]; // prettier-ignore
  const telling = notices(gateway, tellers, stopped.signal);
  const renewing = tls && renewTls(app.server as unknown as Server, tls, stopped.signal, (what) => app.log.warn(what));
  const close = async (): Promise<void> => {
    stopped.abort();
    await app.close();
    await Promise.all([pumping, telling, renewing]);
    await inbox.note();
    await database.close();
  };
  try {
    const address = await app.listen({ host: config.listen.host, port: config.listen.port });
    return { address, app, close, publicKey: publicLine(key) };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The gateway's own key, made at its first start. Replicas that share it share sign-ins too. */
async function keyIn(folder: string): Promise<string> {
  const file = join(folder, 'gateway-key');
  const known = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (known !== undefined) return known;
  const made = newKey();
  await mkdir(folder, { recursive: true, mode: 0o700 });
  await writeFile(file, made, { mode: 0o600, flag: 'wx' });
  return made;
}
