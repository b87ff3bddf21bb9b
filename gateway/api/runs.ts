import { z } from 'zod';
import { diagnosisOf, endedAs, knownRuns, remediationOf } from '../../client/runs.ts';
import { newRun, startDiagnosis } from '../../client/start.ts';
import type { RemediateProgress } from '../../domain/runs.ts';
import { progressWithin } from '../asking.ts';
import type { Gateway } from '../gateway.ts';
import { openingOf } from '../hooks.ts';
import { type Callers, Decision, Most, Name, type Routes, decided, errors } from './callers.ts';

const Known = z.object({
  run: z.string(),
  target: z.string(),
  status: z.string(),
  conclusion: z.string(),
  started: z.iso.datetime(),
});
/** Start, list, show, decide. */
export function runRoutes(routes: Routes, gateway: Gateway, callers: Callers): void {
  routes.get(
    '/api/v1/runs',
    {
      schema: {
        summary: 'Runs, the newest first',
        querystring: Most,
        response: { 200: z.array(Known), ...errors },
      },
    },
    async (request) => {
      const who = callers.authenticated(request);
      const runs = await knownRuns(gateway, request.query.most);
      return runs
        .filter(({ target }) => callers.may(who, 'view', [target]))
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
      const who = callers.authorized(request, 'start', target);
      const { windowMs } = openingOf(gateway.config);
      const run = newRun();
      await startDiagnosis(gateway, run, {
        target,
        requester: who.name,
        windowMs: windowSeconds === undefined ? windowMs : windowSeconds * 1000,
        propose,
      });
      return reply.code(202).send({ run, url: new URL(`/runs/${run}`, gateway.config.url).href });
    },
  );

  routes.get(
    '/api/v1/runs/:run',
    {
      schema: { summary: 'One run: what was sent, found, planned, decided and done', params: z.object({ run: Name }) },
    },
    async (request) => {
      const { run } = request.params;
      const page = await callers.found(request, 'view', 'runs', run);
      // Only one that has completed has a diagnosis; of the others there is what the page tells.
      const { state, says, steps } = page;
      if (page.conclusion === undefined) return { run, state, ...(says !== undefined && { says }), steps };
      const [diagnosis, remediation] = [await diagnosisOf(gateway, run), await remediationOf(gateway, run)];
      const plan = remediation?.open
        ? ((await progressWithin<RemediateProgress>(gateway, `remediate/${run}`)) ?? { phase: 'no worker answers' })
        : remediation && endedAs(remediation);
      return { run, state, diagnosis, ...(plan && { remediation: plan }) };
    },
  );

  routes.post(
    '/api/v1/runs/:run/decide',
    {
      schema: {
        summary: 'Hands in a decision that a person has signed with their own ssh key',
        params: z.object({ run: Name }),
        body: Decision,
        response: decided,
      },
    },
    async (request, reply) => callers.handIn(request, reply, 'runs', request.params.run, request.body),
  );
}
