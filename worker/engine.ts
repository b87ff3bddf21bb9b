import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '@temporalio/client';
import { type Progress } from './binary.ts';
import { type Embedded, embeddedServer } from './embedded.ts';

/** A Temporal server to work with: the user's own embedded one, or the one that the environment names. */
export interface Engine {
  embedded: boolean;
  address: string;
  client: Client;
  /** How a worker connects to it. */
  connection: { address: string; namespace: string; options: object };
  /** Whether undrop's search attributes are registered there. */
  visible: boolean;
  /** Whether a connection to it stands; where none does, calls are tried again until their deadline. */
  connected(): boolean;
  close(): Promise<void>;
}

/** gRPC's own pause between attempts grows to two minutes: so long a server that is back would go unnoticed. */
const backSoon = {
  'grpc.initial_reconnect_backoff_ms': 200,
  'grpc.max_reconnect_backoff_ms': 1_000,
  // A connection that was given up because nobody used it would look like a server that is away.
  'grpc.client_idle_timeout_ms': 2 ** 31 - 1,
};
const againMs = 5_000;

const attributes = ['UndropTarget', 'UndropPhase', 'UndropConclusion'];
const keyword = 2;

/**
 * Connects to Temporal. TEMPORAL_ADDRESS, TEMPORAL_PROFILE and the rest of the SDK's environment configuration decide
 * where; without them a local server with a database file is started or joined.
 * @param patient a server of the environment that cannot be reached now is no error; calls fail until it is there
 * @throws Error that says which server could not be reached
 */
export async function openEngine(progress: Progress, patient = false): Promise<Engine> {
  const [{ Client, Connection }, { loadClientConnectConfig }] = await Promise.all([
    import('@temporalio/client'),
    import('@temporalio/envconfig'),
  ]);
  const config = loadClientConnectConfig();
  const external = config.connectionOptions.address;
  if (external === undefined) {
    const lost = Object.keys(process.env).find((name) => /^TEMPORAL_(API_KEY|TLS|GRPC_META|NAMESPACE)/.test(name));
    if (lost !== undefined)
      throw new Error(`${lost} is set, but neither TEMPORAL_ADDRESS nor a profile names a server`);
  }
  const embedded: Embedded | undefined = external === undefined ? await embeddedServer(progress) : undefined;
  const address = external ?? embedded?.address ?? '';
  const namespace = config.namespace ?? 'default';
  const options = { ...config.connectionOptions, address };
  try {
    const all = { ...options, channelArgs: backSoon };
    let away = false;
    const connection = await Connection.connect({ ...all, connectTimeout: patient ? '2s' : '8s' }).catch(
      (error: unknown) => {
        if (!patient || embedded) throw error;
        away = true;
        return Connection.lazy(all);
      },
    );
    const client = new Client({ connection, namespace });
    const closed = new AbortController();
    let visible = embedded !== undefined || (!away && (await register(client, namespace)));
    if (away)
      void registered(client, namespace, closed.signal).then((there) => {
        visible = there;
      });
    return {
      embedded: embedded !== undefined,
      address,
      client,
      connection: { address, namespace, options },
      get visible() {
        return visible;
      },
      connected: () => channelOf(connection).getConnectivityState(false) === ready,
      close: async () => {
        closed.abort();
        await connection.close();
        embedded?.close();
      },
    };
  } catch (error) {
    embedded?.close();
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(`the Temporal server at ${address} cannot be reached: ${why}`, { cause: error });
  }
}

/** Tries to until the server is there, or the signal. */
async function registered(client: Client, namespace: string, signal: AbortSignal): Promise<boolean> {
  const there = async (): Promise<boolean> =>
    client.withDeadline(Date.now() + againMs, async () => client.workflowService.getSystemInfo({})).then(() => true, () => false); // prettier-ignore
  while (!signal.aborted && !(await there())) await sleep(againMs, undefined, { signal }).catch(() => {});
  return !signal.aborted && register(client, namespace);
}

/** Registers undrop's search attributes; without the right to, runs are only not searchable by them. */
async function register(client: Client, namespace: string): Promise<boolean> {
  const { operatorService } = client.connection as { operatorService?: OperatorService };
  if (!operatorService) return false;
  try {
    const { customAttributes } = await operatorService.listSearchAttributes({ namespace });
    const missing = attributes.filter((name) => !(name in customAttributes));
    if (missing.length === 0) return true;
    const searchAttributes = Object.fromEntries(missing.map((name) => [name, keyword]));
    await operatorService.addSearchAttributes({ namespace, searchAttributes });
    return true;
  } catch {
    return false;
  }
}

/** The SDK keeps gRPC's channel to itself; nothing else tells a server that is away from one that is slow. */
const channelOf = (connection: unknown): Channel =>
  (connection as { client: { getChannel(): Channel } }).client.getChannel();
interface Channel {
  getConnectivityState(connect: boolean): number;
}
/** grpc.connectivityState.READY */
const ready = 2;

interface OperatorService {
  listSearchAttributes(request: { namespace: string }): Promise<{ customAttributes: Record<string, unknown> }>;
  addSearchAttributes(request: { namespace: string; searchAttributes: Record<string, number> }): Promise<unknown>;
}
