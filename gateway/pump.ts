import { setTimeout as sleep } from 'node:timers/promises';
import { type Carrier, Overtaking, Unreachable, carryOut } from './deliver.ts';

const everyMs = 1_000;
const tidyMs = 3_600_000;

/** Carries out what waits in the inbox, until the signal: what was acknowledged while Temporal was away, or half done in a crash. */
export async function pump(carrier: Carrier, signal: AbortSignal, says: (what: string) => void): Promise<void> {
  for (let tidied = 0; !signal.aborted;) {
    try {
      if (Date.now() - tidied > tidyMs) {
        await carrier.inbox.tidy();
        tidied = Date.now();
      }
      for (const delivery of await carrier.inbox.claim()) {
        if (signal.aborted) break;
        await carryOut(carrier, delivery).catch((error: unknown) => {
          // One that Temporal refuses for itself does not hold up those behind it.
          if (!(error instanceof Overtaking) && !(error instanceof Unreachable && !error.away)) throw error;
          says(`delivery ${delivery.id} waits in the inbox: ${error.message}`);
        });
      }
    } catch (error) {
      says(`deliveries wait in the inbox: ${error instanceof Error ? error.message : String(error)}`);
    }
    await sleep(everyMs, undefined, { signal }).catch(() => {});
  }
}
