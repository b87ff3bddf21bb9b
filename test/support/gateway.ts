import type { Session } from '../../cli/session.ts';
import type { Inventory } from '../../domain/inventory.ts';
import { parseConfig } from '../../gateway/config.ts';
import { type Serving, serve } from '../../gateway/serve.ts';
import { loadRunbook } from '../../runbooks/load.ts';
import { evidenceStore } from '../../worker/worker.ts';
import type { Road } from './road.ts';

/**
 * A gateway in this process, and a worker unless another process has it, on a road that is open.
 * @param text its configuration, as in a file
 * @param inventory what it works on; the gateway's key, which is made at its first start, is added to those that it trusts
 */
export async function openGateway(
  road: Road,
  text: string,
  inventory: Inventory,
  work = true,
): Promise<{ gateway: Serving; session: Session }> {
  const config = parseConfig(text, 'gateway.yaml');
  const opened = async (known: Inventory, working: boolean) => {
    const session = await road.session(known, working);
    const { engine, taskQueue } = session;
    const reach = { engine, taskQueue, inventory: known };
    const surroundings = { reach, runbook: loadRunbook(), store: evidenceStore(), folder: road.data, level: 'silent' };
    return { session, gateway: await serve(config, surroundings) };
  };
  const { gateway: first } = await opened(inventory, false);
  await first.close();
  const gateways = [...inventory.approval.gateways, { name: config.name, key: first.publicKey }];
  return opened({ ...inventory, approval: { ...inventory.approval, gateways } }, work);
}

/** What the API answers to a program that has a token. */
export async function callApi<T>(
  { address }: Serving,
  token: string,
  path: string,
  body?: object,
): Promise<{ status: number; json: T }> {
  const answer = await fetch(`${address}/api/v1/${path}`, {
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    ...(body && { method: 'POST', body: JSON.stringify(body) }),
  });
  return { status: answer.status, json: (await answer.json()) as T };
}
