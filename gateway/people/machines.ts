import { createHash, timingSafeEqual } from 'node:crypto';
import { type GatewayConfig, secretOf } from '../config.ts';
import type { Principal } from './roles.ts';

/** The program whose token this is; undefined for none. Tokens are read each time: they may be replaced meanwhile. */
export function machineOf({ machines }: GatewayConfig, authorization: string | undefined): Principal | undefined {
  const sent = /^Bearer +(\S+)$/i.exec(authorization ?? '')?.[1];
  if (sent === undefined) return undefined;
  let found: Principal | undefined;
  // All are compared, whichever fits: the time taken says nothing.
  for (const { name, tokens } of machines)
    for (const token of tokens)
      if (timingSafeEqual(hash(sent), hash(secretOf(token)))) found = { name, kind: 'machine', groups: [] };
  return found;
}

const hash = (text: string): Buffer => createHash('sha256').update(text).digest();
