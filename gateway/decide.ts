import { sign } from '../activities/signature.ts';
import { UserError } from '../client/errors.ts';
import { HandedOver, decide } from '../client/plans.ts';
import { mostReason, plainText } from '../domain/plain-text.ts';
import type { Gateway } from './gateway.ts';
import { type Principal, mayAll } from './people/roles.ts';
import type { Asked } from './view.ts';

/** What a person said of which plan. */
export interface Said {
  digest: string;
  decision: 'approve' | 'reject';
  reason: string;
}

/** Why a decision did not count, with a status of HTTP; or, where `open`, that nobody knows yet whether it does. */
interface Answered {
  status: number;
  why: string;
  open?: true;
}

export const noRole = 'you have no role that approves for all of its targets';

/**
 * Signs what a person said, as the gateway that knows them, and hands it to the run's plan or the rollout: whether it
 * counts is decided there, by the same rule for every door.
 * @param door where they said it, for the metrics
 * @returns undefined when it counted
 */
export async function decideFor(
  { config, key, engine, metrics, log }: Gateway,
  door: 'page' | 'slack',
  who: Principal,
  asked: Asked | undefined,
  { digest, decision, reason }: Said,
): Promise<Answered | undefined> {
  const refused = asked && mayAll(config.roles, who, 'approve', asked.targets) ? await handIn(asked) : { status: 403, why: noRole }; // prettier-ignore
  metrics.decisions.inc({ door, counted: refused?.open ? 'unknown' : refused ? 'no' : 'yes' });
  const about = { of: asked?.path, person: who.name, decision, digest: digest.slice(0, 12) };
  if (refused) log.warn({ ...about, why: refused.why }, refused.open ? 'decision handed over' : 'decision refused');
  else log.info(about, 'decision recorded');
  return refused;

  async function handIn({ workflowId, plan }: Asked): Promise<Answered | undefined> {
    // Who may decide is known from what it works on; without that nothing is signed.
    if (!plan)
      return { status: 409, why: 'there is no plan that can be looked at now, so nothing was decided: try again' };
    // What is signed is what everybody reads later, as it is read everywhere.
    const said = { digest, decision, reason: plainText(reason, mostReason), principal: who.name, via: config.name };
    try {
      await decide(engine.client.workflow.getHandle(workflowId), sign(workflowId, said, key));
      return undefined;
    } catch (error) {
      if (error instanceof HandedOver) return { status: 202, why: error.message, open: true };
      if (error instanceof UserError) return { status: 409, why: error.message };
      throw error;
    }
  }
}
