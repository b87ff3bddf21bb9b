import { type KnownBlock, WebClient } from '@slack/web-api';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { secretOf } from './config.ts';
import { decideFor, noRole } from './decide.ts';
import { finders } from './decisions.ts';
import type { Gateway } from './gateway.ts';
import type { Notice, Teller } from './notices.ts';
import { verified } from './verify.ts';
import { shown } from './view.ts';

/** What a button carries: which plan it was beside. What it does is decided by what the server finds there. */
const Value = z.strictObject({
  kind: z.enum(['runs', 'rollouts']).default('runs'),
  run: z.string().max(64),
  digest: z.string().length(64),
});
const Actions = z.object({
  type: z.literal('block_actions'),
  user: z.object({ id: z.string() }),
  trigger_id: z.string(),
  actions: z.array(z.object({ action_id: z.enum(['approve', 'reject']), value: z.string().max(2000) })).min(1),
});
const Submission = z.object({
  type: z.literal('view_submission'),
  user: z.object({ id: z.string() }),
  view: z.object({
    callback_id: z.enum(['approve', 'reject']),
    private_metadata: z.string().max(3000),
    state: z.object({ values: z.object({ reason: z.object({ text: z.object({ value: z.string().nullish() }) }) }) }),
  }),
});

/** Plans in a channel of Slack: a message with buttons that becomes the outcome. */
export function slackTeller({ config, inventory }: Gateway): Teller[] {
  const { slack } = config;
  if (!slack) return [];
  const client = (): WebClient => new WebClient(secretOf(slack.token), { slackApiUrl: slack.api, retryConfig: { retries: 0 }, rejectRateLimitedCalls: true, timeout: 10_000 }); // prettier-ignore
  return [
    {
      name: 'slack',
      tell: async (notice, earlier) => {
        const blocks = blocksOf(notice, inventory);
        const text = `${notice.target}: ${notice.outcome ?? 'a plan waits for approval'}`;
        const known = z.object({ ts: z.string(), channel: z.string() }).safeParse(earlier);
        if (notice.outcome !== undefined && known.success) {
          await client().chat.update({ ...known.data, text, blocks });
          return known.data;
        }
        const { ts, channel } = await client().chat.postMessage({ channel: slack.channel, text, blocks });
        return { ts, channel };
      },
    },
  ];
}

/** POST /slack: clicks and forms, signed by Slack. Who clicked is only a name until our own configuration knows it. */
export function slack(app: FastifyInstance, gateway: Gateway): void {
  const { config } = gateway;
  const { slack: known } = config;
  if (!known) return;
  app.post('/slack', async (request, reply) => {
    const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
    const proof = verified({ scheme: 'slack' }, [secretOf(known.signingSecret)], request.headers, body, Date.now());
    if (!proof.ok) {
      gateway.log.warn({ why: proof.why }, 'Slack message refused');
      return reply.code(401).send({ error: 'not authenticated' });
    }
    const payload: unknown = json(new URLSearchParams(body.toString()).get('payload') ?? '');
    const clicked = Actions.safeParse(payload);
    if (clicked.success) {
      const { user, trigger_id, actions } = clicked.data;
      const [action] = actions;
      if (!action) return reply.send();
      // A reason is asked for, and with it a second look; Slack's trigger lives three seconds.
      await new WebClient(secretOf(known.token), { slackApiUrl: known.api, retryConfig: { retries: 0 }, timeout: 2_500 }).views.open({
        trigger_id,
        view: form(action.action_id, action.value, nameOf(user.id)),
      }); // prettier-ignore
      return reply.send();
    }
    const sent = Submission.safeParse(payload);
    if (!sent.success) return reply.code(200).send();
    const { view, user } = sent.data;
    const why = await decide(
      user.id,
      view.callback_id,
      view.private_metadata,
      view.state.values.reason.text.value ?? '',
    );
    if (why === undefined) return reply.send({ response_action: 'clear' });
    return reply.send({ response_action: 'errors', errors: { reason: why } });
  });

  function nameOf(id: string): string | undefined {
    return config.people.find((one) => one.slack === id)?.name;
  }

  /** @returns why it does not count */
  async function decide(
    user: string,
    decision: 'approve' | 'reject',
    metadata: string,
    reason: string,
  ): Promise<string | undefined> {
    const value = Value.safeParse(json(metadata));
    const person = nameOf(user);
    if (!value.success) return 'this form is not of a plan';
    if (person === undefined) return 'you are nobody that this gateway knows; ask for an entry in its people';
    const { kind, run, digest } = value.data;
    // Slack knows no groups of the identity provider: they are those of the last sign-in, as long as that counts.
    const [groups, asked] = await Promise.all([gateway.sessions.groupsOf(person), finders[kind](gateway, run)]);
    const who = { name: person, kind: 'person', groups: groups ?? [] } as const;
    const why = (await decideFor(gateway, 'slack', who, asked, { digest, decision, reason }))?.why;
    if (why !== noRole || groups) return why;
    return `${why}; roles of groups count here while you are signed in at ${config.url}`;
  }
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Slack takes 3,000 characters in a block and 50 blocks. */
const mostText = 2_900;
const mostTexts = 20;

/** Text of nodes and alerts: no link, mention or emphasis comes of it. */
const plain = (text: string): { type: 'plain_text'; text: string; emoji: false } => ({
  type: 'plain_text',
  text: text.length > mostText ? `${text.slice(0, mostText)} …` : text,
  emoji: false,
});

/** Lines together in as few texts as they fit into. */
function paragraphs(lines: readonly string[]): string[] {
  const texts: string[] = [];
  for (const line of lines) {
    const last = texts.at(-1);
    if (last !== undefined && last.length + line.length < mostText) texts[texts.length - 1] = `${last}\n${line}`;
    else texts.push(line);
  }
  return texts;
}

function blocksOf(notice: Notice, inventory: Gateway['inventory']): KnownBlock[] {
  const { signed, needs, run, target, url, outcome, says, decisions = [] } = notice;
  const { title, groups, facts, digest } = shown(signed, inventory, needs);
  const changes = groups.map(({ operations, places }) => `${operations.join('\n')}\nat ${places.join(', ')}`);
  const texts = [...changes, ...paragraphs(facts.map(([name, text]) => `${name}: ${text}`))];
  const value = JSON.stringify({ kind: 'rollout' in signed ? 'rollouts' : 'runs', run, digest });
  const section = (text: string): KnownBlock => ({ type: 'section', text: plain(text) });
  const blocks: KnownBlock[] = [
    { type: 'header', text: plain(`${target}: ${title}`.slice(0, 150)) },
    ...texts.slice(0, mostTexts).map(section),
    { type: 'section', text: { type: 'mrkdwn', text: `<${url}|All of it: evidence, and what was ruled out>` } },
  ]; // prettier-ignore
  if (outcome !== undefined)
    return [...blocks, ...paragraphs(decisions).slice(0, mostTexts).map(section), section(`${outcome}: ${says ?? ''}`)];
  // Nobody approves here what they are not shown.
  if (texts.length > mostTexts || texts.some((text) => text.length > mostText))
    return [...blocks, section('This is not all of it: a message holds no more. Decide on the page.')];
  return [
    ...blocks,
    {
      type: 'actions',
      elements: [
        { type: 'button', action_id: 'approve', style: 'primary', text: plain('Approve …'), value },
        { type: 'button', action_id: 'reject', style: 'danger', text: plain('Reject …'), value },
      ],
    },
  ];
}

function form(decision: 'approve' | 'reject', value: string, person: string | undefined) {
  const about = Value.safeParse(json(value));
  const digest = about.success ? about.data.digest.slice(0, 12) : '';
  return {
    type: 'modal' as const,
    callback_id: decision,
    private_metadata: value,
    title: plain(decision === 'approve' ? 'Approve plan' : 'Reject plan'),
    submit: plain(decision === 'approve' ? 'Approve' : 'Reject'),
    close: plain('Cancel'),
    blocks: [
      { type: 'section' as const, text: plain(person === undefined ? 'You are nobody that this gateway knows.' : `Plan ${digest}, as ${person}`) },
      {
        type: 'input' as const, block_id: 'reason', optional: decision === 'approve', label: plain('Reason'),
        element: { type: 'plain_text_input' as const, action_id: 'text', multiline: true, max_length: 1000 },
      },
    ],
  }; // prettier-ignore
}
