import { setTimeout as sleep } from 'node:timers/promises';
import type { Reach } from '../client/start.ts';
import { taskTimeout } from '../client/start.ts';
import { type IncidentInput, incidentId, open } from '../domain/incident.ts';
import type { Inbox, Letters } from './inbox.ts';

export interface Opening extends Pick<IncidentInput, 'windowMs' | 'propose' | 'atOnce'> {}

/** Temporal did not take it in time. */
export class Unreachable extends Error {}

/** A sender waits no longer than a second for an answer (PagerDuty 5 s, Grafana OnCall 4 s, Slack 3 s). */
const deadlineMs = 900;

/**
 * Brings reports to the incidents of their targets: what fires opens one, what is resolved only reaches one that is open.
 * Doing it again changes nothing.
 * @returns ids of the incidents that were reached
 * @throws Unreachable when Temporal does not take it in time
 */
export async function deliver(reach: Reach, opening: Opening, source: string, letters: Letters): Promise<string[]> {
  const { engine, taskQueue, inventory } = reach;
  const one = async ({ target, reports }: Letters[number]): Promise<string[]> => {
    const workflowId = incidentId(inventory.name, target);
    if (reports.some(open)) {
      const input: IncidentInput = {
        ...opening,
        inventory: inventory.name,
        target,
        requester: source,
        visible: engine.visible,
      };
      await engine.client.workflow.signalWithStart('incident', {
        workflowId, taskQueue, args: [input], signal: 'report', signalArgs: [reports], memo: { target },
        workflowIdConflictPolicy: 'USE_EXISTING', workflowTaskTimeout: taskTimeout, staticSummary: `alerts about ${target}`,
      }); // prettier-ignore
      return [workflowId];
    }
    try {
      await engine.client.workflow.getHandle(workflowId).signal('report', reports);
      return [workflowId];
    } catch (error) {
      if (error instanceof Error && error.name === 'WorkflowNotFoundError') return [];
      throw error;
    }
  };
  try {
    const late = Date.now() + deadlineMs;
    return (await engine.client.withDeadline(late, async () => Promise.all(letters.map(one)))).flat();
  } catch (error) {
    throw new Unreachable(error instanceof Error ? error.message : String(error), { cause: error });
  }
}

/** Carries out what waits in the inbox, until the signal: what was acknowledged while Temporal was away, or half done in a crash. */
export async function pump(
  inbox: Inbox,
  carryOut: (source: string, letters: Letters) => Promise<unknown>,
  signal: AbortSignal,
  says: (what: string) => void,
): Promise<void> {
  const everyMs = 1_000;
  const tidyMs = 3_600_000;
  for (let tidied = 0; !signal.aborted;) {
    try {
      if (Date.now() - tidied > tidyMs) {
        await inbox.tidy();
        tidied = Date.now();
      }
      for (const { id, source, letters } of await inbox.waiting()) {
        await carryOut(source, letters);
        await inbox.done(id);
      }
    } catch (error) {
      says(`deliveries wait in the inbox: ${error instanceof Error ? error.message : String(error)}`);
    }
    await sleep(everyMs, undefined, { signal }).catch(() => {});
  }
}
