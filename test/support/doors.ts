import type { Decision } from '../../domain/approval.ts';
import type { Serving } from '../../gateway/serve.ts';
import { callApi } from './gateway.ts';
import { slackMessage } from './slack.ts';
import { Visit } from './visit.ts';

/** What every door says: why a decision does not count; undefined where it does. */
export type Answer = string | undefined;

/** The gateway's doors as people and programs use them, over HTTP. */
export class Doors {
  private readonly gateway: Serving;
  private readonly secret: string;
  private readonly token: string;

  /** @param secret what Slack signs with @param token of a program that may use the API */
  constructor(gateway: Serving, secret: string, token: string) {
    this.gateway = gateway;
    this.secret = secret;
    this.token = token;
  }

  /** A decision that a person has signed with their own key. */
  async api(run: string, decision: Decision): Promise<Answer> {
    const { status, json } = await callApi<{ error?: string }>(this.gateway, this.token, `runs/${run}/decide`, decision); // prettier-ignore
    return answer('the API', status, status === 200, status === 409, json.error);
  }

  /** What Slack sends when somebody has filled in the form beside a plan: `slack-NAME` is who. */
  async slack(run: string, { digest, decision, principal, reason }: Decision): Promise<Answer> {
    const view = {
      callback_id: decision,
      private_metadata: JSON.stringify({ kind: 'runs', run, digest }),
      state: { values: { reason: { text: { value: reason } } } },
    };
    const user = { id: `slack-${principal}` };
    const message = slackMessage(this.secret, { type: 'view_submission', user, view });
    const sent = await fetch(`${this.gateway.address}/slack`, { method: 'POST', ...message });
    const said = (await sent.json()) as { response_action?: string; errors?: { reason: string } };
    return answer('Slack', sent.status, said.response_action === 'clear', said.errors !== undefined, said.errors?.reason); // prettier-ignore
  }

  /** Goes to a run's page as somebody of the identity provider who waits to decide. */
  async visit(path: string, login: string): Promise<Visit> {
    const visit = new Visit(this.gateway.address);
    await visit.signIn(path, login);
    return visit;
  }

  /** Sends the form of a run's page. @param form its hidden fields, as they were when it was looked at */
  async page(visit: Visit, run: string, form: Record<string, string>, said: Decision): Promise<Answer> {
    const { decision, reason } = said;
    const { status, says } = await visit.sends(`/runs/${run}/decide`, { ...form, decision, reason });
    const note = /<p class="note">(.*?)\.<\/p>/s.exec(says)?.[1];
    return answer('the page', status, status === 303, status === 409, note);
  }
}

/** @throws Error where a door says neither */
function answer(door: string, status: number, counted: boolean, refused: boolean, why?: string): Answer {
  if (counted) return undefined;
  if (refused && why !== undefined) return why;
  throw new Error(`${door} answered ${status}: ${why ?? ''}`);
}
