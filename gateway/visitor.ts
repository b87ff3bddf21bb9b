import { fileURLToPath } from 'node:url';
import { Eta } from 'eta';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Gateway } from './gateway.ts';
import type { Principal } from './people/roles.ts';

export const sessionCookie = 'undrop_session';

const eta = new Eta({ views: fileURLToPath(new URL('pages', import.meta.url)), cache: true, autoEscape: true });

/** Who is at the other end of a request, and what they get to see. */
export class Visitor {
  readonly who: Principal | undefined;
  /** What their browser holds; '' without a session. */
  readonly session: string;
  private readonly gateway: Gateway;
  private readonly reply: FastifyReply;

  private constructor(gateway: Gateway, reply: FastifyReply, session: string, who: Principal | undefined) {
    this.gateway = gateway;
    this.reply = reply;
    this.session = session;
    this.who = who;
  }

  static async of(gateway: Gateway, request: FastifyRequest, reply: FastifyReply): Promise<Visitor> {
    const session = request.cookies[sessionCookie] ?? '';
    return new Visitor(gateway, reply, session, session ? await gateway.sessions.find(session) : undefined);
  }

  /** Sends a page. @param name of a template in pages/ */
  page(name: string, data: object): FastifyReply {
    const { inventory, sessions } = this.gateway;
    const { who } = this;
    const logout = who && sessions.formToken(this.session, 'logout');
    const html = eta.render(name, { inventory: inventory.name, who, logout, refresh: 0, ...data });
    return this.reply.type('text/html; charset=utf-8').send(html);
  }

  /** Sends a page that says one thing. */
  message(status: number, title: string, says: string, back?: string): FastifyReply {
    this.reply.code(status);
    return this.page('./message', { title, says, back });
  }
}

/** A page that says one thing to whoever asks; it needs nothing that may have failed. */
export const plainPage = (reply: FastifyReply, inventory: string, status: number, title: string, says: string): FastifyReply =>
  reply
    .code(status)
    .type('text/html; charset=utf-8')
    .send(eta.render('./message', { inventory, refresh: 0, title, says, back: '/' })); // prettier-ignore

/** Who asks; where nobody is signed in the request has been answered. */
export async function signedIn(
  gateway: Gateway,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<{ visitor: Visitor; who: Principal | undefined }> {
  const visitor = await Visitor.of(gateway, request, reply);
  const { who } = visitor;
  if (!who && request.method === 'GET') await reply.redirect(`/login?to=${encodeURIComponent(request.url)}`);
  else if (!who) await visitor.message(401, 'Sign in first', 'You were signed out meanwhile; nothing was decided.', '/'); // prettier-ignore
  return { visitor, who };
}

/** A field of a form; '' where it was not sent. */
export function textOf(body: Record<string, unknown> | undefined, name: string): string {
  const value = body?.[name];
  return typeof value === 'string' ? value : '';
}
