import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { plainPage } from './visitor.ts';

/**
 * What a failing route answers, and one that is not there: nothing of the gateway's inside. People at a browser get a page.
 * @param inventory its name, which every page shows
 */
export function failed(app: FastifyInstance, inventory: string): void {
  const answer = (request: FastifyRequest, reply: FastifyReply, status: number, says: string): FastifyReply =>
    request.headers.accept?.includes('text/html')
      ? plainPage(reply, inventory, status, status >= 500 ? 'It failed' : 'Nothing was done', says)
      : reply.code(status).send({ error: says });

  app.setErrorHandler((error: Error & { statusCode?: number }, request, reply) => {
    const status = error.statusCode ?? 500;
    if (status >= 500) request.log.error({ err: error }, 'request failed');
    return answer(request, reply, status, status >= 500 ? 'it failed; the log says why' : error.message);
  });
  app.setNotFoundHandler((request, reply) => answer(request, reply, 404, 'there is nothing here'));
}
