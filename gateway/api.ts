import swagger from '@fastify/swagger';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import {
  type ZodTypeProvider,
  jsonSchemaTransform,
  serializerCompiler,
  validatorCompiler,
} from 'fastify-type-provider-zod';
import { z } from 'zod';
import { UserError } from '../client/errors.ts';
import { decide } from '../client/plans.ts';
import { diagnosisOf, knownRuns, remediationOf } from '../client/runs.ts';
import { newRun, startDiagnosis } from '../client/start.ts';
import { resumeEverything, stopEverything } from '../client/stop.ts';
import { progressOf } from '../client/plans.ts';
import { runName } from '../domain/runs.ts';
import type { Gateway } from './gateway.ts';
import { openingOf } from './hooks.ts';
import { provedNames } from './people/certificates.ts';
import { machineOf } from './people/machines.ts';
import { type Principal, type Role, everything, may } from './people/roles.ts';
import { runPage } from './pages.ts';

const Run = z.string().regex(runName, 'no name of a run');
const Failure = z.object({ error: z.string() });
const Known = z.object({
  run: z.string(),
  target: z.string(),
  status: z.string(),
  conclusion: z.string(),
  started: z.iso.datetime(),
});
const Decision = z.strictObject({
  digest: z.string().length(64),
  decision: z.enum(['approve', 'reject']),
  principal: z.string().min(1).max(100),
  reason: z.string().max(1000).default(''),
  signature: z.string().max(4000).describe('base64, by the ssh key that the inventory has for the principal'),
});

const Stopped = z.object({
  id: z.string(),
  kind: z.enum(['run', 'change', 'schedule']),
  outcome: z.string(),
  says: z.string(),
  proof: z.array(z.string()),
});

/** An answer that is an error; the message is for the caller. */
class Refusal extends Error {
  readonly statusCode: number;
  constructor(statusCode: number, message: string) {
    super(message);
    this.statusCode = statusCode;
  }
}

/** The API for programs: start, list, show, decide. Its description is at /api/v1/openapi.json. */
export async function api(app: FastifyInstance, gateway: Gateway): Promise<void> {
  const { config } = gateway;
  await app.register(async (scope) => {
    scope.setValidatorCompiler(validatorCompiler);
    scope.setSerializerCompiler(serializerCompiler);
    await scope.register(swagger, {
      openapi: {
        info: {
          title: 'undrop',
          version: '1',
          description: 'Finds out why UDP datagrams go missing, proves it, and fixes it once people have approved.',
        },
        components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
        security: [{ token: [] }],
      },
      transform: jsonSchemaTransform,
    });
    const routes = scope.withTypeProvider<ZodTypeProvider>();
    const errors = { 401: Failure, 403: Failure, 404: Failure };

    routes.get('/api/v1/openapi.json', { schema: { hide: true } }, () => scope.swagger());

    routes.get(
      '/api/v1/runs',
      {
        schema: {
          summary: 'Runs, the newest first',
          querystring: z.object({ most: z.coerce.number().int().min(1).max(500).default(50) }),
          response: { 200: z.array(Known), ...errors },
        },
      },
      async (request) => {
        const who = authenticated(request);
        const runs = await knownRuns(gateway, request.query.most);
        return runs
          .filter(({ target }) => may(config.roles, who, 'view', target))
          .map((one) => ({ ...one, started: one.started.toISOString() }));
      },
    );

    routes.post(
      '/api/v1/runs',
      {
        schema: {
          summary: 'Starts a diagnosis; with `propose`, a plan follows and waits for people',
          body: z.strictObject({
            target: z.string().min(1).max(300),
            windowSeconds: z.number().positive().max(600).optional(),
            propose: z.boolean().default(false),
          }),
          response: { 202: z.object({ run: z.string(), url: z.string() }), ...errors },
        },
      },
      async (request, reply) => {
        const { target, windowSeconds, propose } = request.body;
        const who = authorized(request, 'start', target);
        const { windowMs } = openingOf(config);
        const run = newRun();
        await startDiagnosis(gateway, run, {
          target,
          requester: who.name,
          windowMs: windowSeconds === undefined ? windowMs : windowSeconds * 1000,
          propose,
        });
        return reply.code(202).send({ run, url: new URL(`/runs/${run}`, config.url).href });
      },
    );

    routes.get(
      '/api/v1/runs/:run',
      {
        schema: { summary: 'One run: what was sent, found, planned, decided and done', params: z.object({ run: Run }) },
      },
      async (request) => {
        const { run } = request.params;
        const page = await found(request, 'view', run);
        if (page.moving && page.says === undefined) return { run, state: page.state, steps: page.steps };
        const [diagnosis, remediation] = [await diagnosisOf(gateway, run), await remediationOf(gateway, run)];
        const plan = remediation?.open
          ? await progressOf(gateway.engine.client.workflow.getHandle(`remediate/${run}`))
          : remediation?.result;
        return { run, state: page.state, diagnosis, ...(plan && { remediation: plan }) };
      },
    );

    routes.post(
      '/api/v1/runs/:run/decide',
      {
        schema: {
          summary: 'Hands in a decision that a person has signed with their own ssh key',
          params: z.object({ run: Run }),
          body: Decision,
          response: { 200: z.object({ recorded: z.literal(true) }), 409: Failure, ...errors },
        },
      },
      async (request) => {
        const { run } = request.params;
        await found(request, 'start', run);
        try {
          await decide(gateway.engine.client.workflow.getHandle(`remediate/${run}`), request.body);
        } catch (error) {
          if (error instanceof UserError) throw new Refusal(409, error.message);
          throw error;
        }
        gateway.metrics.decisions.inc({ door: 'api', counted: 'yes' });
        return { recorded: true as const };
      },
    );

    routes.post(
      '/api/v1/stop',
      {
        schema: {
          summary: 'Stops everything: nothing new begins, what is not confirmed is put back; answers when that is done',
          body: z.strictObject({ reason: z.string().min(1).max(300) }),
          response: { 200: z.array(Stopped), ...errors },
        },
      },
      async (request) => {
        const { name } = authorized(request, 'administer', everything);
        return stopEverything(gateway, { by: name, reason: request.body.reason, at: Date.now() }, () => {});
      },
    );

    routes.post(
      '/api/v1/resume',
      { schema: { summary: 'Lets things go on', response: { 200: z.object({ wasStopped: z.boolean() }), ...errors } } },
      async (request) => {
        const { name } = authorized(request, 'administer', everything);
        return { wasStopped: await resumeEverything(gateway, name) };
      },
    );
  });

  function authenticated(request: FastifyRequest): Principal {
    const who = machineOf(config, request.headers.authorization, provedNames(request.raw.socket));
    if (!who)
      throw new Refusal(401, 'not authenticated: send a token as `Authorization: Bearer …`, or show a certificate');
    return who;
  }

  function authorized(request: FastifyRequest, role: Role, target: string): Principal {
    const who = authenticated(request);
    if (!may(config.roles, who, role, target)) throw new Refusal(403, `${who.name} may not ${role} for ${target}`);
    return who;
  }

  async function found(request: FastifyRequest, role: Role, run: string) {
    const who = authenticated(request);
    const page = await runPage(gateway, run);
    if (!page || !may(config.roles, who, 'view', page.target)) throw new Refusal(404, `there is no run ${run}`);
    if (!may(config.roles, who, role, page.target))
      throw new Refusal(403, `${who.name} may not ${role} for ${page.target}`);
    return page;
  }
}
