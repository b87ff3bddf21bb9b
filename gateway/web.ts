import { readFileSync } from 'node:fs';
import type { FastifyInstance } from 'fastify';
import { knownRollouts } from '../client/rollouts.ts';
import { knownRuns } from '../client/runs.ts';
import { currentStop, resumeEverything, stopEverything } from '../client/stop.ts';
import { targetsText } from '../domain/rollout.ts';
import { rolloutMarkdown } from '../domain/rollout-report.ts';
import { stopLine } from '../domain/stop.ts';
import { decisions } from './decisions.ts';
import type { Gateway } from './gateway.ts';
import { incidentsOf } from './pages.ts';
import { everything, may, mayAll } from './people/roles.ts';
import { signIn } from './people/sign-in.ts';
import { rolloutPage } from './rollouts.ts';
import { signedIn, textOf } from './visitor.ts';

const style = readFileSync(new URL('pages/style.css', import.meta.url), 'utf8');
/** The list loads itself again after so many seconds. */
const refreshSeconds = 15;
/** So many of each are listed. */
const most = 50;

/** The pages: incidents, rollouts and runs, one of them with its plan, and signing in. They need no script and fit a phone. */
export function web(app: FastifyInstance, gateway: Gateway): void {
  const { config, sessions, log } = gateway;
  signIn(app, gateway);

  app.get('/style.css', (_, reply) => reply.type('text/css').header('cache-control', 'max-age=3600').send(style));

  app.get('/', async (request, reply) => {
    const { visitor, who } = await signedIn(gateway, request, reply);
    if (!who) return reply;
    const sees = ({ target }: { target: string }): boolean => may(config.roles, who, 'view', target);
    const [runs, rollouts, incidents] = await Promise.all([
      knownRuns(gateway, most),
      knownRollouts(gateway, most),
      incidentsOf(gateway),
    ]);
    const seen = {
      runs: runs.filter(sees),
      rollouts: rollouts
        .filter(({ targets }) => mayAll(config.roles, who, 'view', targets))
        .map((one) => ({ ...one, about: targetsText(one.targets), waits: one.state === 'waiting for approval' })),
      incidents: incidents.filter(sees),
    };
    const stopped = await currentStop(gateway);
    const switchToken =
      may(config.roles, who, 'administer', everything) && sessions.formToken(visitor.session, 'switch');
    return visitor.page('./runs', {
      ...seen,
      refresh: refreshSeconds,
      switchToken,
      stopped: stopped && stopLine(stopped),
    });
  });

  for (const word of ['stop', 'resume'] as const)
    app.post<{ Body: Record<string, unknown> }>(`/${word}`, async (request, reply) => {
      const { visitor, who } = await signedIn(gateway, request, reply);
      if (!who) return reply;
      const field = (name: string): string => textOf(request.body, name);
      const refuse = (status: number, says: string) => visitor.message(status, 'Nothing was changed', says, '/');
      if (!sessions.formIs(visitor.session, 'switch', field('token')))
        return refuse(403, 'This form is not of your session.');
      if (!may(config.roles, who, 'administer', everything)) return refuse(403, 'You may not stop everything.');
      if (word === 'resume') {
        await resumeEverything(gateway, who.name);
        return reply.redirect('/', 303);
      }
      const reason = field('reason').trim().slice(0, 300);
      if (!reason) return refuse(400, 'Say why, for everybody who wonders.');
      log.warn({ person: who.name, reason }, 'everything is stopped');
      const done = await stopEverything(gateway, { by: who.name, reason, at: Date.now() }, () => {});
      return visitor.page('./stopped', { title: 'Stopped', done });
    });

  decisions(app, gateway, 'runs');
  decisions(app, gateway, 'rollouts');

  app.get<{ Params: { name: string } }>('/rollouts/:name/report', async (request, reply) => {
    const { visitor, who } = await signedIn(gateway, request, reply);
    if (!who) return reply;
    const { name } = request.params;
    const found = await rolloutPage(gateway, name);
    const { now } = found ?? {};
    if (!found || !now || !('outcome' in now) || !mayAll(config.roles, who, 'view', found.targets))
      return visitor.message(404, 'No such report', 'There is none, or you may not see it.', '/');
    return reply.type('text/plain; charset=utf-8').send(rolloutMarkdown(name, now));
  });
}
