import type {
  FastifyBaseLogger,
  FastifyInstance,
  FastifyReply,
  FastifyRequest,
  RawReplyDefaultExpression,
  RawRequestDefaultExpression,
  RawServerDefault,
} from 'fastify';
import type { ZodTypeProvider } from 'fastify-type-provider-zod';
import { z } from 'zod';
import { UserError } from '../../client/errors.ts';
import { HandedOver, decide } from '../../client/plans.ts';
import { mostReason, plainText } from '../../domain/plain-text.ts';
import { runName } from '../../domain/runs.ts';
import { type Kind, finders } from '../decisions.ts';
import type { Gateway } from '../gateway.ts';
import { provedNames } from '../people/certificates.ts';
import { machineOf } from '../people/machines.ts';
import { type Principal, type Role, mayAll } from '../people/roles.ts';

export type Routes = FastifyInstance<
  RawServerDefault,
  RawRequestDefaultExpression,
  RawReplyDefaultExpression,
  FastifyBaseLogger,
  ZodTypeProvider
>;

export const Name = z.string().regex(runName, 'no name of a run or rollout');
export const Failure = z.object({ error: z.string() });
export const errors = { 401: Failure, 403: Failure, 404: Failure };
/** How many of a list. */
export const Most = z.object({ most: z.coerce.number().int().min(1).max(500).default(50) });

/** Nothing can be taken out of it here, as it is signed so; how many spaces there are harms nobody. */
const line = (max: number) => {
  const plain = (text: string): boolean => plainText(text, max) === text.replace(/ +/g, ' ').trim();
  return z.string().max(max).refine(plain, 'not one line of plain text');
};

export const Decision = z.strictObject({
  digest: z.string().length(64),
  decision: z.enum(['approve', 'reject']),
  principal: line(100).min(1),
  reason: line(mostReason)
    .default('')
    .describe('one line of plain text: nothing that controls or formats, no white space but blanks'),
  signature: z.string().max(4000).describe('base64, by the ssh key that the inventory has for the principal'),
});
const NotYet = z.object({
  recorded: z.literal(false),
  says: z.string().describe('it was handed over, and nobody has said in time whether it counts: ask for the run'),
});
export const decided = { 200: z.object({ recorded: z.literal(true) }), 202: NotYet, 409: Failure, ...errors };

/** An answer that is an error; the message is for the caller. */
class Refusal extends Error {
  readonly statusCode: number;
  constructor(statusCode: number, message: string) {
    super(message);
    this.statusCode = statusCode;
  }
}

/** Who calls the API, and what they may. */
export class Callers {
  private readonly gateway: Gateway;

  constructor(gateway: Gateway) {
    this.gateway = gateway;
  }

  /** @throws Refusal */
  authenticated(request: FastifyRequest): Principal {
    const { config, log } = this.gateway;
    const who = machineOf(config, request.headers.authorization, provedNames(request.raw.socket), log);
    if (!who)
      throw new Refusal(401, 'not authenticated: send a token as `Authorization: Bearer …`, or show a certificate');
    return who;
  }

  /** @throws Refusal */
  authorized(request: FastifyRequest, role: Role, ...targets: string[]): Principal {
    const who = this.authenticated(request);
    if (!this.may(who, role, targets)) throw new Refusal(403, `${who.name} may not ${role} for ${targets.join(', ')}`);
    return who;
  }

  may(who: Principal, role: Role, targets: readonly string[]): boolean {
    return mayAll(this.gateway.config.roles, who, role, targets);
  }

  /** The run or rollout of a name, for who may that with all of its targets. @throws Refusal */
  async found<K extends Kind>(
    request: FastifyRequest,
    role: Role,
    kind: K,
    name: string,
  ): Promise<NonNullable<Awaited<ReturnType<(typeof finders)[K]>>>> {
    const who = this.authenticated(request);
    const page = (await finders[kind](this.gateway, name)) as Awaited<ReturnType<(typeof finders)[K]>>;
    if (!page || !this.may(who, 'view', page.targets))
      throw new Refusal(404, `there is no ${kind.replace(/s$/, '')} ${name}`);
    if (!this.may(who, role, page.targets)) throw new Refusal(403, `${who.name} may not ${role} for ${name}`);
    return page;
  }

  /** Hands in a decision that a person has signed with their own key. @throws Refusal where it does not count */
  async handIn(
    request: FastifyRequest,
    reply: FastifyReply,
    kind: Kind,
    name: string,
    decision: z.infer<typeof Decision>,
  ): Promise<{ recorded: true } | FastifyReply> {
    const { engine, metrics } = this.gateway;
    const counted = (word: 'yes' | 'no' | 'unknown'): void => metrics.decisions.inc({ door: 'api', counted: word });
    this.authenticated(request);
    try {
      const { workflowId } = await this.found(request, 'start', kind, name);
      await decide(engine.client.workflow.getHandle(workflowId), decision);
    } catch (error) {
      if (error instanceof HandedOver) {
        counted('unknown');
        return reply.code(202).send({ recorded: false, says: error.message });
      }
      const refusal = error instanceof UserError ? new Refusal(409, error.message) : error;
      if (refusal instanceof Refusal) counted('no');
      throw refusal;
    }
    counted('yes');
    return { recorded: true };
  }
}
