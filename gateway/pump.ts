import { setTimeout as sleep } from 'node:timers/promises';
import type { Carrier } from './deliver.ts';
import type { Inbox } from './inbox.ts';

const everyMs = 1_000;
const tidyMs = 3_600_000;

/** Carries out what waits in the inbox, until the signal: what was acknowledged while Temporal was away, or half done in a crash. */
export async function pump(
  inbox: Inbox,
  carrier: Carrier,
  signal: AbortSignal,
  says: (what: string) => void,
): Promise<void> {
  for (let tidied = 0; !signal.aborted;) {
    try {
      if (Date.now() - tidied > tidyMs) {
        await inbox.tidy();
        tidied = Date.now();
      }
      // In the order in which they came; what concerns one incident goes together. One that fails holds up no other.
      const ended = await Promise.allSettled((await inbox.claim()).map(async (one) => carrier.carryOut(one)));
      const failed = ended.filter((one) => one.status === 'rejected');
      if (failed[0]) says(`${failed.length} deliveries wait in the inbox: ${messageOf(failed[0].reason)}`);
    } catch (error) {
      says(`the inbox cannot be read: ${messageOf(error)}`);
    }
    await sleep(everyMs, undefined, { signal }).catch(() => {});
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
