import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import type { temporal } from '@temporalio/proto';
import { Worker } from '@temporalio/worker';
import { workflowBundle } from '../../worker/worker.ts';
import { root } from './imports.ts';

type History = temporal.api.history.v1.IHistory;
export interface Recorded {
  workflowId: string;
  history: History | object;
}

const folder = join(root, 'test', 'histories');

/** Replays histories against today's workflows; returns what went wrong with each, one line a history. */
export async function replayed(histories: readonly Recorded[], code?: string): Promise<string[]> {
  const bundle = code === undefined ? { codePath: await workflowBundle() } : { code };
  const wrong: string[] = [];
  for await (const { workflowId, error } of Worker.runReplayHistories({ workflowBundle: bundle }, histories))
    if (error) wrong.push(`${workflowId}: ${error.message}`);
  return wrong;
}

/** Keeps histories as fixtures: of each kind of workflow one for each set of things that happened in it. */
export function record(histories: readonly { workflowId: string; history: History }[]): void {
  mkdirSync(folder, { recursive: true });
  const known = new Set<string>();
  const counts: Record<string, number> = {};
  for (const { workflowId, history } of histories) {
    const kind = workflowId.split('/')[0] ?? '';
    const events = new Set((history.events ?? []).map(({ eventType }) => eventType));
    const happened = `${kind} ${[...events]
      .map(String)
      .toSorted((a, b) => a.localeCompare(b))
      .join(' ')}`;
    if (known.has(happened)) continue;
    known.add(happened);
    const number = (counts[kind] = (counts[kind] ?? 0) + 1);
    // Nothing of the machine that recorded it: replaying looks at neither.
    const json = JSON.parse(historyToJSON(history), (key, value: unknown) =>
      key === 'stackTrace' || key === 'identity' ? undefined : value,
    ) as object;
    writeFileSync(join(folder, `${kind}-${number}.json`), JSON.stringify(json).replaceAll(/\d+@[\w.-]+/g, 'worker'));
  }
}

/** The fixtures; their ids begin with the kind of workflow. Each is replayed under its own id: workflows name things by that. */
export const recorded = (): Recorded[] =>
  readdirSync(folder).map((name) => {
    const history = JSON.parse(readFileSync(join(folder, name), 'utf8')) as Json;
    return { workflowId: history.events[0]?.workflowExecutionStartedEventAttributes?.workflowId ?? name, history };
  });

interface Json {
  events: { workflowExecutionStartedEventAttributes?: { workflowId?: string } }[];
}
