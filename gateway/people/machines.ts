import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyBaseLogger } from 'fastify';
import { SecretError } from '../auth-config.ts';
import { type GatewayConfig, secretOf } from '../config.ts';
import type { Principal } from './roles.ts';

/**
 * The program whose token or certificate this is; undefined for none. Tokens are read each time: they may be replaced
 * meanwhile. Who sends a token is known by nothing else: a wrong one is not made good by a certificate.
 * @param names that its certificate proves
 * @param log is told of machines whose token cannot be read: those are nobody, and keep out nobody else
 */
export function machineOf(
  { machines }: GatewayConfig,
  authorization: string | undefined,
  names: readonly string[],
  log: Pick<FastifyBaseLogger, 'error'>,
): Principal | undefined {
  if (authorization === undefined) {
    const known = machines.find(({ certificates }) => certificates.some((name) => names.includes(name)));
    return known && { name: known.name, kind: 'machine', groups: [] };
  }
  const sent = /^Bearer +(\S+)$/i.exec(authorization)?.[1];
  if (sent === undefined) return undefined;
  let found: Principal | undefined;
  // All are compared, whichever fits: the time taken says nothing.
  for (const { name, tokens } of machines)
    for (const token of tokens)
      try {
        if (timingSafeEqual(hash(sent), hash(secretOf(token)))) found = { name, kind: 'machine', groups: [] };
      } catch (error) {
        if (!(error instanceof SecretError)) throw error;
        log.error({ machine: name, why: error.message }, 'a machine cannot be known by its token');
      }
  return found;
}

const hash = (text: string): Buffer => createHash('sha256').update(text).digest();
