import type { Session } from '../../cli/session.ts';
import type { Inventory } from '../../domain/inventory.ts';
import { parseConfig } from '../../gateway/config.ts';
import { type Serving, type Surroundings, serve } from '../../gateway/serve.ts';
import { loadRunbook } from '../../runbooks/load.ts';
import { evidenceStore } from '../../worker/evidence.ts';
import type { Road } from './road.ts';

interface Opened {
  gateway: Serving;
  session: Session;
  /** Opens one more beside it, at another port. */
  another(): Promise<Serving>;
}

/**
 * A gateway in this process, and a worker unless another process has it, on a road that is open.
 * @param text its configuration, as in a file
 * @param inventory what it works on; the gateway's key, which is made at its first start, is added to those that it trusts
 * @param more what surrounds it, where that is not as usual; `before` is done with the worker before the gateway starts, which `work` says whether there is
 */
export async function openGateway(
  road: Road,
  text: string,
  inventory: Inventory,
  {
    before,
    work = true,
    ...more
  }: Partial<Surroundings> & { before?: (session: Session) => Promise<void>; work?: boolean } = {},
): Promise<Opened> {
  const config = parseConfig(text, 'gateway.yaml');
  const around = ({ engine, taskQueue }: Session, known: Inventory): Surroundings => ({
    reach: { engine, taskQueue, inventory: known },
    runbook: loadRunbook(),
    store: evidenceStore(),
    folder: road.data,
    level: 'silent',
  });
  const first = await serve(config, around(await road.session(inventory, false), inventory));
  await first.close();
  const gateways = [...inventory.approval.gateways, { name: config.name, key: first.publicKey }];
  const known = { ...inventory, approval: { ...inventory.approval, gateways } };
  const session = await road.session(known, work);
  await before?.(session);
  const surroundings = { ...around(session, known), ...more };
  const gateway = await serve(config, surroundings);
  const elsewhere = { ...config, listen: { ...config.listen, port: 0 } };
  return { gateway, session, another: async () => serve(elsewhere, surroundings) };
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
