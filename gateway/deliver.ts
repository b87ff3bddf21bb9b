import { isGrpcServiceError } from '@temporalio/client';
import { type Reach, taskTimeout } from '../client/start.ts';
import { type IncidentInput, incidentId, open } from '../domain/incident.ts';
import type { Inbox, Stored } from './inbox.ts';

/** What deliveries are carried out with. */
export interface Carrier extends Reach {
  inbox: Inbox;
  opening: Pick<IncidentInput, 'windowMs' | 'propose' | 'atOnce'>;
}

/** CANCELLED, DEADLINE_EXCEEDED, UNAVAILABLE of gRPC. */
const goneCodes = new Set([1, 4, 14]);

/** Temporal did not take it in time. */
export class Unreachable extends Error {
  /** Whether nothing else would get there either; else something is wrong with this delivery. */
  get away(): boolean {
    const inner = this.cause instanceof Error ? this.cause.cause : undefined;
    return isGrpcServiceError(inner) && goneCodes.has(inner.code);
  }
}
/** Something older about the same target waits, without which this one means nothing. */
export class Overtaking extends Error {}

/** A sender waits no longer than a second for an answer (PagerDuty 5 s, Grafana OnCall 4 s, Slack 3 s). */
const deadlineMs = 900;

/**
 * Brings a delivery to the incidents of its targets, and notes that: what fires opens one, what is resolved only reaches
 * one that is open. Doing it again changes nothing.
 * @returns ids of the incidents that were reached
 * @throws Unreachable when Temporal does not take it in time, Overtaking; the delivery stays in the inbox then
 */
export async function carryOut(carrier: Carrier, delivery: Stored): Promise<string[]> {
  const { inbox, engine } = carrier;
  const { id, letters } = delivery;
  let incidents: (string | undefined)[];
  try {
    const late = Date.now() + deadlineMs;
    incidents = await engine.client.withDeadline(late, async () =>
      Promise.all(letters.map(async (letter) => told(carrier, delivery, letter))),
    );
  } catch (error) {
    throw new Unreachable(error instanceof Error ? error.message : String(error), { cause: error });
  }
  for (const [index, { target }] of letters.entries())
    if (incidents[index] === undefined && (await inbox.overtakes(id, target)))
      throw new Overtaking(`something older about ${target} waits still`);
  await inbox.done(id);
  return incidents.filter((one) => one !== undefined);
}

/** @returns the incident's id; undefined where there is none and nothing to open one for */
async function told(
  { engine, taskQueue, inventory, opening }: Carrier,
  { id, source, received, rememberMs }: Stored,
  { target, reports }: Stored['letters'][number],
): Promise<string | undefined> {
  const workflowId = incidentId(inventory.name, target);
  const signalArgs = [reports, { id, received, rememberMs }] as const;
  if (reports.some(open)) {
    const input: IncidentInput = {
      ...opening,
      inventory: inventory.name,
      target,
      requester: source,
      visible: engine.visible,
    };
    await engine.client.workflow.signalWithStart('incident', {
      workflowId, taskQueue, args: [input], signal: 'report', signalArgs: [...signalArgs], memo: { target },
      workflowIdConflictPolicy: 'USE_EXISTING', workflowTaskTimeout: taskTimeout, staticSummary: `alerts about ${target}`,
    }); // prettier-ignore
    return workflowId;
  }
  try {
    await engine.client.workflow.getHandle(workflowId).signal('report', ...signalArgs);
    return workflowId;
  } catch (error) {
    if (error instanceof Error && error.name === 'WorkflowNotFoundError') return undefined;
    throw error;
  }
}
