import type { FastifyInstance } from 'fastify';
import { decideFor, noRole } from './decide.ts';
import type { Gateway } from './gateway.ts';
import { askedRun, runPage } from './pages.ts';
import { mayAll } from './people/roles.ts';
import { rolloutPage } from './rollouts.ts';
import { mayNot } from './view.ts';
import { signedIn, textOf } from './visitor.ts';

/** What people decide on, each kind by its name, with all that a decision needs. */
export const finders = { runs: askedRun, rollouts: rolloutPage };
/** The same with all that its page shows. */
const pages = { runs: runPage, rollouts: rolloutPage };
export type Kind = keyof typeof finders;

/** A page that will look different soon loads itself again after so many seconds. */
const movingSeconds = 3;
const words = { runs: { page: './run', one: 'run' }, rollouts: { page: './rollout', one: 'rollout' } } as const;

type Request = { Params: { name: string }; Body: Record<string, unknown> };

/** The page of each run or rollout, with its plan, and the form on it by which people decide. */
export function decisions(app: FastifyInstance, gateway: Gateway, kind: Kind): void {
  const { config, sessions, log } = gateway;
  const { page, one } = words[kind];

  app.get<Request>(`/${kind}/:name`, async (request, reply) => {
    const { visitor, who } = await signedIn(gateway, request, reply);
    if (!who) return reply;
    const found = await pages[kind](gateway, request.params.name);
    if (!found || !mayAll(config.roles, who, 'view', found.targets))
      return visitor.message(404, `No such ${one}`, `There is no such ${one}, or you may not see it.`, '/');
    const { plan, moving } = found;
    if (!plan?.waits) return visitor.page(page, { ...found, refresh: moving ? movingSeconds : 0 });
    const why = mayAll(config.roles, who, 'approve', found.targets) ? mayNot(who, plan, Date.now()) : noRole;
    const token = sessions.formToken(visitor.session, about(found.path, plan.digest));
    return visitor.page(page, { ...found, plan: { ...plan, mayNot: why, token } });
  });

  app.post<Request>(`/${kind}/:name/decide`, async (request, reply) => {
    const { visitor, who } = await signedIn(gateway, request, reply);
    if (!who) return reply;
    const { name } = request.params;
    const back = `/${kind}/${name}`;
    const field = (of: string): string => textOf(request.body, of);
    const [digest, decision] = [field('digest'), field('decision')];
    const refuse = (status: number, says: string, title = 'Nothing was decided') =>
      visitor.message(status, title, `${says}.`, encodeURI(back));
    if (!sessions.formIs(visitor.session, about(back, digest), field('token'))) {
      gateway.metrics.decisions.inc({ door: 'page', counted: 'no' });
      log.warn({ of: back, person: who.name }, 'a form of another session or plan was refused');
      return refuse(403, 'This form is not of your session, or of another plan: look at the plan again');
    }
    if (decision !== 'approve' && decision !== 'reject') return refuse(400, 'Neither approve nor reject was chosen');
    const found = await finders[kind](gateway, name);
    const refused = await decideFor(gateway, 'page', who, found, { digest, decision, reason: field('reason') });
    if (!refused) return reply.redirect(back, 303);
    return refuse(refused.status, refused.why, refused.open && 'It is not known yet whether it counts');
  });
}

const about = (path: string, digest: string): string => `decide\n${path}\n${digest}`;
