import swagger from '@fastify/swagger';
import type { FastifyInstance } from 'fastify';
import {
  type ZodTypeProvider,
  jsonSchemaTransform,
  serializerCompiler,
  validatorCompiler,
} from 'fastify-type-provider-zod';
import { z } from 'zod';
import { resumeEverything, stopEverything } from '../../client/stop.ts';
import type { Gateway } from '../gateway.ts';
import { everything } from '../people/roles.ts';
import { Callers, errors } from './callers.ts';
import { rolloutRoutes } from './rollouts.ts';
import { runRoutes } from './runs.ts';

const Stopped = z.object({
  id: z.string(),
  kind: z.enum(['run', 'change', 'schedule']),
  outcome: z.string(),
  says: z.string(),
  proof: z.array(z.string()),
});

/** The API for programs: start, list, show, decide. Its description is at /api/v1/openapi.json. */
export async function api(app: FastifyInstance, gateway: Gateway): Promise<void> {
  const callers = new Callers(gateway);
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
        // OpenAPI 3.0 has no word for the other way, a client's certificate.
        components: {
          securitySchemes: {
            token: { type: 'http', scheme: 'bearer', description: 'or a certificate of `tls.clientCa`' },
          },
        },
        security: [{ token: [] }],
      },
      transform: jsonSchemaTransform,
    });
    const routes = scope.withTypeProvider<ZodTypeProvider>();

    routes.get('/api/v1/openapi.json', { schema: { hide: true } }, () => scope.swagger());

    runRoutes(routes, gateway, callers);
    rolloutRoutes(routes, gateway, callers);

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
        const { name } = callers.authorized(request, 'administer', everything);
        return stopEverything(gateway, { by: name, reason: request.body.reason, at: Date.now() }, () => {});
      },
    );

    routes.post(
      '/api/v1/resume',
      { schema: { summary: 'Lets things go on', response: { 200: z.object({ wasStopped: z.boolean() }), ...errors } } },
      async (request) => {
        const { name } = callers.authorized(request, 'administer', everything);
        return { wasStopped: await resumeEverything(gateway, name) };
      },
    );
  });
}
