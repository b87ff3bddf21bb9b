import { proxyActivities } from '@temporalio/workflow';
import type { Activities } from '../activities/index.ts';
import type { Sections } from '../domain/sections.ts';

const quick = proxyActivities<Activities>({ startToCloseTimeout: '5s', retry: { maximumAttempts: 2 } });

/** Brings a conclusion from the worker that has its evidence to whoever shows it. */
export async function show(conclusion: string): Promise<Sections> {
  return quick.sections(conclusion);
}
