import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Eta } from 'eta';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { knownRuns } from '../client/runs.ts';
import { decideFor } from './decide.ts';
import type { Gateway } from './gateway.ts';
import { incidentsOf, runPage } from './pages.ts';
import { type Departure, SignIn } from './people/oidc.ts';
import { type Principal, may } from './people/roles.ts';
import { secretOf } from './config.ts';
import { mayNot } from './view.ts';

const folder = fileURLToPath(new URL('pages', import.meta.url));
const style = readFileSync(new URL('pages/style.css', import.meta.url), 'utf8');
const cookies = { session: 'undrop_session', departure: 'undrop_departure' };

/** The pages: runs, one run with its plan, and signing in. They need no script and fit a phone. */
export function web(app: FastifyInstance, gateway: Gateway): void {
  const { config, sessions, inventory } = gateway;
  const eta = new Eta({ views: folder, cache: true, autoEscape: true });
  const secure = config.url.startsWith('https:');
  const cookie = { httpOnly: true, secure, sameSite: 'lax', path: '/' } as const;
  const signIn = config.oidc && new SignIn(config.oidc, config.oidc.clientSecret && secretOf(config.oidc.clientSecret), `${config.url.replace(/\/$/, '')}/callback`); // prettier-ignore

  const tokenOf = (request: FastifyRequest): string => request.cookies[cookies.session] ?? '';
  const whoIs = async (request: FastifyRequest): Promise<Principal | undefined> => {
    const token = tokenOf(request);
    return token === '' ? undefined : sessions.find(token);
  };
  const page = (
    reply: FastifyReply,
    name: string,
    request: FastifyRequest,
    who: Principal | undefined,
    data: object,
  ) => {
    const session = tokenOf(request);
    const html = eta.render(name, {
      inventory: inventory.name, who, logout: who && sessions.formToken(session, 'logout'), refresh: 0, ...data,
    }); // prettier-ignore
    return reply.type('text/html; charset=utf-8').send(html);
  };
  const message = (
    reply: FastifyReply,
    request: FastifyRequest,
    who: Principal | undefined,
    status: number,
    title: string,
    says: string,
    back?: string,
  ) =>
    // prettier-ignore
    page(reply.code(status), './message', request, who, { title, says, back });
  /** The person who asks, who may look at this target; without one the answer was given. */
  const viewer = async (request: FastifyRequest, reply: FastifyReply): Promise<Principal | undefined> => {
    const who = await whoIs(request);
    if (who) return who;
    if (request.method === 'GET') await reply.redirect(`/login?to=${encodeURIComponent(request.url)}`);
    else await message(reply, request, undefined, 401, 'Sign in first', 'You were signed out meanwhile; nothing was decided.', '/'); // prettier-ignore
    return undefined;
  };

  app.get('/style.css', (_, reply) => reply.type('text/css').header('cache-control', 'max-age=3600').send(style));

  app.get('/', async (request, reply) => {
    const who = await viewer(request, reply);
    if (!who) return reply;
    const sees = ({ target }: { target: string }): boolean => may(config.roles, who, 'view', target);
    const [runs, incidents] = await Promise.all([knownRuns(gateway, 50), incidentsOf(gateway)]);
    return page(reply, './runs', request, who, {
      runs: runs.filter(sees),
      incidents: incidents.filter(sees),
      refresh: 15,
    });
  });

  app.get<{ Params: { run: string } }>('/runs/:run', async (request, reply) => {
    const who = await viewer(request, reply);
    if (!who) return reply;
    const found = await runPage(gateway, request.params.run);
    if (!found || !may(config.roles, who, 'view', found.target))
      return message(reply, request, who, 404, 'No such run', 'There is no such run, or you may not see it.', '/');
    const { plan } = found;
    if (plan?.waits) {
      const { digest, risk } = plan.signed.plan
        ? { digest: plan.signed.digest, risk: plan.signed.plan.risk }
        : { digest: '', risk: '' };
      const role = may(config.roles, who, 'approve', found.target);
      const why = role
        ? mayNot(who, plan.signed, plan.recorded, inventory, Date.now())
        : 'you have no role that approves for this target';
      return page(reply, './run', request, who, {
        ...found, plan: { ...plan, risk, mayNot: why, token: sessions.formToken(tokenOf(request), about(request.params.run, digest)) },
      }); // prettier-ignore
    }
    return page(reply, './run', request, who, { ...found, refresh: found.moving ? 3 : 0 });
  });

  app.post<{ Params: { run: string }; Body: Record<string, unknown> }>('/runs/:run/decide', async (request, reply) => {
    const who = await viewer(request, reply);
    if (!who) return reply;
    const { run } = request.params;
    const back = `/runs/${encodeURIComponent(run)}`;
    const [digest, decision, reason, token] = ['digest', 'decision', 'reason', 'token'].map((name) => {
      const value = request.body?.[name];
      return typeof value === 'string' ? value : '';
    }) as [string, string, string, string];
    const refuse = (status: number, says: string) => {
      gateway.metrics.decisions.inc({ door: 'page', counted: 'no' });
      gateway.log.warn({ run, person: who.name, why: says }, 'decision refused');
      return message(reply, request, who, status, 'Nothing was decided', says, back);
    };
    if (!sessions.formIs(tokenOf(request), about(run, digest), token))
      return refuse(403, 'This form is not of your session, or of another plan. Look at the plan again.');
    if (decision !== 'approve' && decision !== 'reject') return refuse(400, 'Neither approve nor reject was chosen.');
    const found = await runPage(gateway, run);
    if (!found || !may(config.roles, who, 'approve', found.target))
      return refuse(403, 'You have no role that approves for this target.');
    const why = await decideFor(gateway, { name: config.name, key: gateway.key }, { run, digest, decision, reason, person: who.name }); // prettier-ignore
    if (why !== undefined) return refuse(409, `${why}.`);
    gateway.metrics.decisions.inc({ door: 'page', counted: 'yes' });
    gateway.log.info({ run, person: who.name, decision, digest: digest.slice(0, 12) }, 'decision recorded');
    return reply.redirect(back, 303);
  });

  app.get<{ Querystring: { to?: string } }>('/login', async (request, reply) => {
    if (!signIn) return message(reply, request, undefined, 501, 'Nobody can sign in', 'The gateway has no `oidc` in its configuration; decide with `undrop approve`.'); // prettier-ignore
    const { url, departure } = await signIn.leave(ownPath(request.query.to));
    reply.setCookie(cookies.departure, JSON.stringify(departure), { ...cookie, signed: true, maxAge: 600 });
    return reply.redirect(url);
  });

  app.get('/callback', async (request, reply) => {
    const kept = request.unsignCookie(request.cookies[cookies.departure] ?? '');
    reply.clearCookie(cookies.departure, cookie);
    const again = (says: string) => message(reply, request, undefined, 403, 'You are not signed in', says, '/login');
    if (!signIn || !kept.valid) return again('This sign-in was not begun here, or long ago.');
    const departure = JSON.parse(kept.value) as Departure;
    try {
      const query = request.url.includes('?') ? request.url.slice(request.url.indexOf('?')) : '';
      const { subject, groups } = await signIn.come(query, departure);
      const person = config.people.find(({ oidc }) => oidc === subject);
      if (!person) return again(`${subject} is nobody that this gateway knows; ask for an entry in its people.`);
      reply.setCookie(cookies.session, await sessions.open({ name: person.name, kind: 'person', groups }), cookie);
      return await reply.redirect(ownPath(departure.to));
    } catch (error) {
      gateway.log.warn({ why: error instanceof Error ? error.message : String(error) }, 'sign-in refused');
      return again('The identity provider did not confirm who you are.');
    }
  });

  app.post<{ Body: Record<string, unknown> }>('/logout', async (request, reply) => {
    const session = tokenOf(request);
    if (sessions.formIs(session, 'logout', typeof request.body?.['token'] === 'string' ? request.body['token'] : '')) {
      await sessions.close(session);
      reply.clearCookie(cookies.session, cookie);
    }
    return reply.redirect('/', 303);
  });
}

const about = (run: string, digest: string): string => `decide\n${run}\n${digest}`;

/** Only a path of ours: a link to us must not lead on to somebody else's site. */
function ownPath(to: string | undefined): string {
  const base = 'http://own.invalid';
  if (to === undefined || !to.startsWith('/') || !URL.canParse(to, base)) return '/';
  const url = new URL(to, base);
  return url.origin === base ? `${url.pathname}${url.search}` : '/';
}
