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
