import { z } from 'zod';
import { knownRollouts } from '../../client/rollouts.ts';
import type { Gateway } from '../gateway.ts';
import { type Callers, Decision, Most, Name, type Routes, decided, errors } from './callers.ts';

const Known = z.object({
  rollout: z.string(),
  targets: z.array(z.string()),
  status: z.string(),
  state: z.string().describe('its phase, such as `waiting for approval`, or how it ended'),
  started: z.iso.datetime(),
});

/** List, show, decide. Who may something with a rollout may that with all of its targets. */
export function rolloutRoutes(routes: Routes, gateway: Gateway, callers: Callers): void {
  routes.get(
    '/api/v1/rollouts',
    {
      schema: {
        summary: 'Rollouts, the newest first',
        querystring: Most,
        response: { 200: z.array(Known), ...errors },
      },
    },
    async (request) => {
      const who = callers.authenticated(request);
      const rollouts = await knownRollouts(gateway, request.query.most);
      return rollouts
        .filter(({ targets }) => callers.may(who, 'view', targets))
        .map((one) => ({ ...one, started: one.started.toISOString() }));
    },
  );

  routes.get(
    '/api/v1/rollouts/:rollout',
    {
      schema: {
        summary: 'One rollout: its plan in waves, what was decided, how each target stands, how it ended',
        params: z.object({ rollout: Name }),
      },
    },
    async (request) => {
      const { rollout } = request.params;
      const { state, says, now } = await callers.found(request, 'view', 'rollouts', rollout);
      return { rollout, state, ...(now ?? { says }) };
    },
  );

  routes.post(
    '/api/v1/rollouts/:rollout/decide',
    {
      schema: {
        summary: 'Hands in a decision on a rollout that a person has signed with their own ssh key',
        params: z.object({ rollout: Name }),
        body: Decision,
        response: decided,
      },
    },
    async (request, reply) => callers.handIn(request, reply, 'rollouts', request.params.rollout, request.body),
  );
}
