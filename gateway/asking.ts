import { atOnce } from '../domain/at-once.ts';
import type { Gateway } from './gateway.ts';

/** A worker that does not answer within this time counts as none: pages, Slack and notices do not wait for it. */
export const answerMs = 2_000;
/** So many questions are under way at once. */
const mostAtOnce = 10;

type Which = { workflowId: string; runId?: string };

/** How workflows stand, by their own word; undefined for each of which nobody says it in time. All have the same deadline. */
export async function progressOfAll<T>({ engine }: Pick<Gateway, 'engine'>, all: readonly Which[]): Promise<(T | undefined)[]> {
  const { client } = engine;
  const ask = async ({ workflowId, runId }: Which): Promise<T | undefined> =>
    client.workflow.getHandle(workflowId, runId).query<T>('progress').catch(() => undefined);
  return client.withDeadline(Date.now() + answerMs, async () => atOnce(mostAtOnce, all, ask));
} // prettier-ignore

/** The same of one. */
export async function progressWithin<T>(gateway: Pick<Gateway, 'engine'>, workflowId: string): Promise<T | undefined> {
  const [answer] = await progressOfAll<T>(gateway, [{ workflowId }]);
  return answer;
}
