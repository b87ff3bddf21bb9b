import { readFileSync } from 'node:fs';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { knownRuns } from '../client/runs.ts';
import { currentStop, resumeEverything, stopEverything } from '../client/stop.ts';
import { stopLine } from '../domain/stop.ts';
import { decideFor } from './decide.ts';
import type { Gateway } from './gateway.ts';
import { incidentsOf, runPage } from './pages.ts';
import { type Principal, everything, may } from './people/roles.ts';
import { signIn } from './people/sign-in.ts';
import { mayNot } from './view.ts';
import { Visitor } from './visitor.ts';

const style = readFileSync(new URL('pages/style.css', import.meta.url), 'utf8');
/** A page that will look different soon loads itself again after so many seconds. */
const refresh = { runs: 15, moving: 3 };

type RunRequest = { Params: { run: string }; Body: Record<string, unknown> };

/** The pages: incidents and runs, one run with its plan, and signing in. They need no script and fit a phone. */
export function web(app: FastifyInstance, gateway: Gateway): void {
  const { config, sessions, inventory, metrics, log } = gateway;
  const noRole = 'you have no role that approves for this target';
  signIn(app, gateway);

  app.get('/style.css', (_, reply) => reply.type('text/css').header('cache-control', 'max-age=3600').send(style));

  app.get('/', async (request, reply) => {
    const { visitor, who } = await signedIn(request, reply);
    if (!who) return reply;
    const sees = ({ target }: { target: string }): boolean => may(config.roles, who, 'view', target);
    const [runs, incidents] = await Promise.all([knownRuns(gateway, 50), incidentsOf(gateway)]);
    const seen = { runs: runs.filter(sees), incidents: incidents.filter(sees) };
    const stopped = await currentStop(gateway);
    const switchToken =
      may(config.roles, who, 'administer', everything) && sessions.formToken(visitor.session, 'switch');
    return visitor.page('./runs', {
      ...seen,
      refresh: refresh.runs,
      switchToken,
      stopped: stopped && stopLine(stopped),
    });
  });

  for (const word of ['stop', 'resume'] as const)
    app.post<{ Body: Record<string, unknown> }>(`/${word}`, async (request, reply) => {
      const { visitor, who } = await signedIn(request, reply);
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

  app.get<RunRequest>('/runs/:run', async (request, reply) => {
    const { visitor, who } = await signedIn(request, reply);
    if (!who) return reply;
    const { run } = request.params;
    const found = await runPage(gateway, run);
    if (!found || !may(config.roles, who, 'view', found.target))
      return visitor.message(404, 'No such run', 'There is no such run, or you may not see it.', '/');
    const { plan, moving } = found;
    if (!plan?.waits) return visitor.page('./run', { ...found, refresh: moving ? refresh.moving : 0 });
    const why = may(config.roles, who, 'approve', found.target)
      ? mayNot(who, plan.signed, plan.recorded, inventory, Date.now())
      : noRole;
    const token = sessions.formToken(visitor.session, about(run, plan.digest));
    return visitor.page('./run', { ...found, plan: { ...plan, mayNot: why, token } });
  });

  app.post<RunRequest>('/runs/:run/decide', async (request, reply) => {
    const { visitor, who } = await signedIn(request, reply);
    if (!who) return reply;
    const { run } = request.params;
    const back = `/runs/${encodeURIComponent(run)}`;
    const field = (name: string): string => textOf(request.body, name);
    const [digest, decision] = [field('digest'), field('decision')];
    const refuse = (status: number, says: string) => {
      metrics.decisions.inc({ door: 'page', counted: 'no' });
      log.warn({ run, person: who.name, why: says }, 'decision refused');
      return visitor.message(status, 'Nothing was decided', `${says}.`, back);
    };
    if (!sessions.formIs(visitor.session, about(run, digest), field('token')))
      return refuse(403, 'This form is not of your session, or of another plan: look at the plan again');
    if (decision !== 'approve' && decision !== 'reject') return refuse(400, 'Neither approve nor reject was chosen');
    const found = await runPage(gateway, run);
    if (!found || !may(config.roles, who, 'approve', found.target)) return refuse(403, noRole);
    const said = { run, digest, decision, reason: field('reason'), person: who.name } as const;
    const why = await decideFor(gateway, { name: config.name, key: gateway.key }, said);
    if (why !== undefined) return refuse(409, why);
    metrics.decisions.inc({ door: 'page', counted: 'yes' });
    log.info({ run, person: who.name, decision, digest: digest.slice(0, 12) }, 'decision recorded');
    return reply.redirect(back, 303);
  });

  /** Who asks; where nobody is signed in the request has been answered. */
  async function signedIn(
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<{ visitor: Visitor; who: Principal | undefined }> {
    const visitor = await Visitor.of(gateway, request, reply);
    const { who } = visitor;
    if (!who && request.method === 'GET') await reply.redirect(`/login?to=${encodeURIComponent(request.url)}`);
    else if (!who) await visitor.message(401, 'Sign in first', 'You were signed out meanwhile; nothing was decided.', '/'); // prettier-ignore
    return { visitor, who };
  }
}

function textOf(body: Record<string, unknown> | undefined, name: string): string {
  const value = body?.[name];
  return typeof value === 'string' ? value : '';
}

const about = (run: string, digest: string): string => `decide\n${run}\n${digest}`;
