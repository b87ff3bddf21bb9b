import { setTimeout as sleep } from 'node:timers/promises';
import { isGrpcServiceError } from '@temporalio/client';
import { type Reach, taskTimeout } from '../client/start.ts';
import { innermost, isGone } from '../domain/errors.ts';
import { type IncidentInput, type News, incidentId, open } from '../domain/incident.ts';
import { plainText } from '../domain/plain-text.ts';
import { Batches } from './batches.ts';
import type { Inbox, Stored } from './inbox.ts';

/** What an incident is opened with, besides its target. */
export type Opening = Pick<IncidentInput, 'windowMs' | 'propose' | 'atOnce'>;

/** Temporal did not take it. */
export class Unreachable extends Error {}
/** Something older about the same target waits, without which this one means nothing. */
export class Overtaking extends Error {}

/** So long the engine has for a signal. */
const deadlineMs = 900;
/** An incident is told of more at most so often: what the engine does in a storm depends on the number of incidents, not of alerts. */
const apartMs = 1_000;
/** So long a sender waits for the engine: where it is only slow, that the delivery is stored is answer enough. */
const patienceMs = 30;
/** Reports in one signal; each has less than a kilobyte, and Temporal refuses signals of two megabytes. */
const mostReports = 500;

interface Letter {
  target: string;
  source: string;
  news: News;
}

/** Brings deliveries to the incidents of their targets. */
export class Carrier {
  private readonly reach: Reach;
  private readonly inbox: Inbox;
  private readonly opening: Opening;
  /** What comes for one incident soon after a signal to it goes with the next one. */
  private readonly signals = new Batches<Letter, boolean>(
    mostReports,
    ({ news }) => news.reports.length,
    async (id, letters) => this.signal(id, letters),
    apartMs,
  );

  private readonly says: (what: string) => void;

  /** @param says is told what Temporal refuses for good, and nobody will ever be told of */
  constructor(reach: Reach, inbox: Inbox, opening: Opening, says: (what: string) => void) {
    this.reach = reach;
    this.inbox = inbox;
    this.opening = opening;
    this.says = says;
  }

  /**
   * Carries a delivery out for a sender that waits.
   * @returns ids of the incidents that were reached; nothing where the engine is slow: it goes on, and the inbox has it
   * @throws Unreachable when there is no connection to Temporal or it refuses, Overtaking; the delivery stays in the inbox then
   */
  async carrySoon(delivery: Stored): Promise<string[] | undefined> {
    const work = this.carryOut(delivery);
    work.catch(() => {}); // one that fails after its sender has gone is in the inbox
    const answered = new AbortController();
    const slow = sleep(patienceMs, undefined, { signal: answered.signal }).then(() => {
      if (!this.reach.engine.connected()) throw new Unreachable('there is no connection to Temporal');
      return undefined;
    });
    slow.catch(() => {}); // it is aborted when the work is done
    return Promise.race([work, slow]).finally(() => answered.abort());
  }

  /**
   * Carries a delivery out, and notes that: what fires opens an incident, what is resolved only reaches one that is open.
   * Doing it again changes nothing.
   * @returns ids of the incidents that were reached
   * @throws Unreachable when Temporal does not take it, Overtaking; the delivery stays in the inbox then
   */
  async carryOut({ id, source, received, rememberMs, letters }: Stored): Promise<string[]> {
    const told = letters.map(async ({ target, reports }) => {
      const incident = incidentId(this.reach.inventory.name, target);
      const news = { origin: { id, received, rememberMs }, reports };
      return (await this.signals.ask(incident, { target, source, news })) ? incident : undefined;
    });
    const incidents = await Promise.all(told).catch(unreachable);
    for (const [index, { target }] of letters.entries())
      if (incidents[index] === undefined && (await this.inbox.overtakes(id, target)))
        throw new Overtaking(`something older about ${target} waits still`);
    this.inbox.done(id);
    return incidents.filter((one) => one !== undefined);
  }

  /** One signal with all letters. @returns for each whether the incident is there */
  private async signal(workflowId: string, letters: readonly Letter[]): Promise<boolean[]> {
    const { engine, taskQueue, inventory } = this.reach;
    const all = letters.map(({ news }) => news);
    const opens = letters.find(({ news }) => news.reports.some(open));
    const { workflow } = engine.client;
    const sent = async (): Promise<boolean> => {
      if (!opens) return workflow.getHandle(workflowId).signal('report', all).then(() => true, unlessThere); // prettier-ignore
      const { target, source } = opens;
      const input: IncidentInput = { ...this.opening, inventory: inventory.name, target, requester: source, visible: engine.visible }; // prettier-ignore
      await workflow.signalWithStart('incident', {
        workflowId, taskQueue, args: [input], signal: 'report', signalArgs: [all], memo: { target },
        workflowIdConflictPolicy: 'USE_EXISTING', workflowTaskTimeout: taskTimeout, staticSummary: `alerts about ${target}`,
      }); // prettier-ignore
      return true;
    };
    const there = await engine.client.withDeadline(Date.now() + deadlineMs, sent).catch((error: unknown): false => {
      // It would be refused each time, and hold up for ever what comes later about the same target.
      if (!isInvalid(error)) throw error;
      this.says(`${plainText(workflowId, 200)} is told nothing, Temporal takes it for wrong: ${innermost(error)}`);
      return false;
    });
    return letters.map(() => there);
  }
}

/** INVALID_ARGUMENT of gRPC. */
const invalid = 3;
/**
 * Whether Temporal would refuse it each time. It says the same of a signal beyond the 10,000 that one run takes (history's
 * ErrSignalsLimitExceeded), which the next run of the incident takes: it is continued in a new one.
 */
const isInvalid = (error: unknown): boolean =>
  error instanceof Error &&
  isGrpcServiceError(error.cause) &&
  Number(error.cause.code) === invalid &&
  !/limit for signal events/.test(error.cause.details);

function unlessThere(error: unknown): false {
  if (isGone(error)) return false;
  throw error;
}

function unreachable(error: unknown): never {
  throw new Unreachable(error instanceof Error ? error.message : String(error), { cause: error });
}
