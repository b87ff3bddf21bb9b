import { createHash } from 'node:crypto';
import { Webhook } from 'standardwebhooks';
import type { SignedRollout } from '../domain/rollout.ts';
import type { Notice, Teller } from './notices.ts';

const answerMs = 15_000;

/** Tells a program by Standard Webhooks: signed, with an id that stays the same when it is sent again. */
export function webhook(url: string, secret: () => string): Teller {
  const name = `webhook-${createHash('sha256').update(url).digest('hex').slice(0, 12)}`;
  return {
    name,
    tell: async ({ event, run, target, url: page, signed, outcome, says, decisions }: Notice) => {
      const at = new Date();
      const { digest } = signed;
      const { title, risk } = 'rollout' in signed ? signed.rollout : signed.plan;
      const of = 'rollout' in signed ? { rollout: run, targets: targetsOf(signed) } : { run, target };
      const data = { ...of, url: page, plan: digest, title, risk, outcome, says, decisions };
      const body = JSON.stringify({ type: event, timestamp: at.toISOString(), data });
      const id = createHash('sha256').update(`${event} ${run} ${digest}`).digest('hex').slice(0, 32);
      const answer = await fetch(url, {
        method: 'POST',
        body,
        redirect: 'error',
        signal: AbortSignal.timeout(answerMs),
        headers: {
          'content-type': 'application/json',
          'webhook-id': id,
          'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
          'webhook-signature': new Webhook(secret()).sign(id, at, body),
        },
      });
      await answer.body?.cancel();
      if (!answer.ok) throw new Error(`it answered ${answer.status}`);
      return undefined;
    },
  };
}

/** Those that it will change. */
const targetsOf = ({ rollout }: SignedRollout): string[] => rollout.waves.flat().map(({ target }) => target);
