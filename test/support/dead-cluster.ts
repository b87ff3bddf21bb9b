import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { freePort } from './port.ts';

/**
 * Writes the kubeconfig of a cluster whose API nobody serves, with the context `prod`.
 * @param port where something listens that is no API, instead of nothing
 * @returns its path
 */
export async function deadCluster(folder: string, port?: number): Promise<string> {
  const kubeconfig = join(folder, 'kubeconfig');
  const config = {
    'current-context': 'prod',
    contexts: [{ name: 'prod', context: { cluster: 'prod', user: 'me' } }],
    clusters: [{ name: 'prod', cluster: { server: `https://127.0.0.1:${port ?? (await freePort())}` } }],
    users: [{ name: 'me', user: { token: 'x' } }],
  };
  writeFileSync(kubeconfig, stringify(config));
  return kubeconfig;
}
