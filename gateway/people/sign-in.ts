import type { FastifyInstance } from 'fastify';
import { secretOf } from '../config.ts';
import type { Gateway } from '../gateway.ts';
import { Visitor, sessionCookie } from '../visitor.ts';
import { type Departure, SignIn } from './oidc.ts';

const departureCookie = 'undrop_departure';
/** How long somebody may be away at the identity provider. */
const awaySeconds = 600;

/** Signing in by way of the identity provider, and out. */
export function signIn(app: FastifyInstance, gateway: Gateway): void {
  const { config, sessions } = gateway;
  const { oidc } = config;
  const callback = `${config.url.replace(/\/$/, '')}/callback`;
  const provider = oidc && new SignIn(oidc, oidc.clientSecret && secretOf(oidc.clientSecret), callback);
  // Lax: the provider sends the browser back here, which Strict would take for a stranger's link.
  const cookie = { httpOnly: true, secure: config.url.startsWith('https:'), sameSite: 'lax', path: '/' } as const;

  app.get<{ Querystring: { to?: string } }>('/login', async (request, reply) => {
    if (!provider) {
      const visitor = await Visitor.of(gateway, request, reply);
      const says = 'The gateway has no `oidc` in its configuration; decide with `undrop approve`.';
      return visitor.message(501, 'Nobody can sign in', says);
    }
    const { url, departure } = await provider.leave(ownPath(request.query.to));
    reply.setCookie(departureCookie, JSON.stringify(departure), { ...cookie, signed: true, maxAge: awaySeconds });
    return reply.redirect(url);
  });

  app.get('/callback', async (request, reply) => {
    const visitor = await Visitor.of(gateway, request, reply);
    const again = (says: string) => visitor.message(403, 'You are not signed in', says, '/login');
    const kept = request.unsignCookie(request.cookies[departureCookie] ?? '');
    reply.clearCookie(departureCookie, cookie);
    if (!provider || !kept.valid) return again('This sign-in was not begun here, or long ago.');
    const departure = JSON.parse(kept.value) as Departure;
    try {
      const { search } = new URL(request.url, callback);
      const { subject, groups } = await provider.come(search, departure);
      const person = config.people.find((one) => one.oidc === subject);
      if (!person) return again(`${subject} is nobody that this gateway knows; ask for an entry in its people.`);
      reply.setCookie(sessionCookie, await sessions.open({ name: person.name, kind: 'person', groups }), cookie);
      return await reply.redirect(ownPath(departure.to));
    } catch (error) {
      gateway.log.warn({ why: error instanceof Error ? error.message : String(error) }, 'sign-in refused');
      return again('The identity provider did not confirm who you are.');
    }
  });

  app.post<{ Body: Record<string, unknown> }>('/logout', async (request, reply) => {
    const { session } = await Visitor.of(gateway, request, reply);
    const token = request.body?.['token'];
    if (typeof token === 'string' && sessions.formIs(session, 'logout', token)) {
      await sessions.close(session);
      reply.clearCookie(sessionCookie, cookie);
    }
    return reply.redirect('/', 303);
  });
}

/** Only a path of ours: a link to us must not lead on to somebody else's site. */
function ownPath(to: string | undefined): string {
  const base = 'http://own.invalid';
  if (to === undefined || !to.startsWith('/') || !URL.canParse(to, base)) return '/';
  const url = new URL(to, base);
  return url.origin === base ? `${url.pathname}${url.search}` : '/';
}
