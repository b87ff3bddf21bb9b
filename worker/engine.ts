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
  close(): Promise<void>;
}

const attributes = ['UndropTarget', 'UndropPhase', 'UndropConclusion'];
const keyword = 2;

/**
 * Connects to Temporal. TEMPORAL_ADDRESS, TEMPORAL_PROFILE and the rest of the SDK's environment configuration decide
 * where; without them a local server with a database file is started or joined.
 * @throws Error that says which server could not be reached
 */
export async function openEngine(progress: Progress): Promise<Engine> {
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
    const connection = await Connection.connect({ ...options, connectTimeout: '8s' });
    const client = new Client({ connection, namespace });
    return {
      embedded: embedded !== undefined,
      address,
      client,
      connection: { address, namespace, options },
      visible: embedded !== undefined || (await register(client, namespace)),
      close: async () => {
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

interface OperatorService {
  listSearchAttributes(request: { namespace: string }): Promise<{ customAttributes: Record<string, unknown> }>;
  addSearchAttributes(request: { namespace: string; searchAttributes: Record<string, number> }): Promise<unknown>;
}
