import type { Engine } from '../worker/engine.ts';

/** A worker's poll comes back after a minute at the latest. */
const aliveSeconds = 75;
const deadlineMs = 10_000;

/** Whether a worker asks this server for work of the queue. */
export async function hasWorker({ client, connection }: Engine, taskQueue: string): Promise<boolean> {
  const { pollers } = await client.withDeadline(Date.now() + deadlineMs, async () =>
    client.workflowService.describeTaskQueue({
      namespace: connection.namespace,
      taskQueue: { name: taskQueue },
      taskQueueType: 1,
    }),
  );
  // Temporal lists a poller for minutes after its worker has died.
  return (pollers ?? []).some(({ lastAccessTime }) => {
    const seconds = Number(lastAccessTime?.seconds ?? 0);
    return Date.now() / 1000 - seconds < aliveSeconds;
  });
}

export const withoutWorker = ({ address }: Engine, taskQueue: string): string =>
  `no worker for this inventory at ${address} (queue ${taskQueue}): start one with \`undrop worker\``;
