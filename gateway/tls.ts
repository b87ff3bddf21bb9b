import { readFile } from 'node:fs/promises';
import type { Server, ServerOptions } from 'node:https';
import { setTimeout as sleep } from 'node:timers/promises';
import type { GatewayConfig } from './config.ts';

type Files = NonNullable<GatewayConfig['tls']>;
type Contents = Pick<ServerOptions, 'cert' | 'key' | 'ca'>;

/** Certificates are replaced long before they end; what is newer is used soon. */
const lookMs = 5_000;

async function contents({ cert, key, clientCa }: Files): Promise<Contents> {
  const [ours, secret, ca] = await Promise.all([cert, key, clientCa].map(async (path) => path === undefined ? undefined : readFile(path, 'utf8'))); // prettier-ignore
  return { cert: ours, key: secret, ca };
}

/**
 * Options of an HTTPS server. People come without a certificate, so that one is asked for and nobody is refused without:
 * `provedNames` says of each request what was proved.
 * @throws Error that names the file that cannot be read
 */
export async function tlsOptions(files: Files): Promise<ServerOptions> {
  const asks = files.clientCa !== undefined;
  return { ...(await contents(files)), minVersion: 'TLSv1.2', requestCert: asks, rejectUnauthorized: false };
}

/** Takes the files' new contents, whenever they change, until the signal. */
export async function renewTls(server: Server, files: Files, signal: AbortSignal, says: (what: string) => void): Promise<void> {
  for (let known = ''; !signal.aborted;) {
    await sleep(lookMs, undefined, { signal }).catch(() => {});
    try {
      const now = await contents(files);
      if (JSON.stringify(now) === known) continue;
      // Certificate and key are replaced one after the other: in between they do not fit, and this throws.
      server.setSecureContext({ ...now, minVersion: 'TLSv1.2' });
      known = JSON.stringify(now);
    } catch (error) {
      says(`the files of tls cannot be used yet: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
} // prettier-ignore
