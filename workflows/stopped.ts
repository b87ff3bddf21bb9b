import { condition, setCurrentDetails, setHandler } from '@temporalio/workflow';
import { type Stop, stopLine } from '../domain/stop.ts';
import { resume } from './messages.ts';

/** The switch itself: it waits until somebody lets things go on. @returns who did */
export async function stopped(stop: Stop): Promise<string> {
  let by: string | undefined;
  setHandler(resume, (who) => {
    by ??= who;
  });
  setCurrentDetails(stopLine(stop));
  await condition(() => by !== undefined);
  return by ?? '';
}
