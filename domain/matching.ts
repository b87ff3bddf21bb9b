import { type Captured, type Seen, flowOf } from './captures.ts';

/** A datagram as it is compared: what tells its flow where addresses may be translated, and in which part it was seen. */
export interface Mark {
  key: string;
  part: number;
}

/**
 * Which of the datagrams that were sent have arrived, each arrival taken once. Where payloads are equal, those of the same
 * part belong together first: else early ones would take the arrivals of later ones, and all loss would seem to be late.
 */
export function matched(sent: readonly Mark[], arrived: readonly Mark[]): boolean[] {
  const counts = new Map<string, Map<number, number>>();
  for (const { key, part } of arrived) {
    // What came before anything counts cannot be one of these.
    if (part < 0) continue;
    const byPart = counts.get(key) ?? new Map<number, number>();
    byPart.set(part, (byPart.get(part) ?? 0) + 1);
    counts.set(key, byPart);
  }
  const take = (key: string, part: number): boolean => {
    const left = counts.get(key)?.get(part) ?? 0;
    if (left > 0) counts.get(key)?.set(part, left - 1);
    return left > 0;
  };
  const found = sent.map(({ key, part }) => part >= 0 && take(key, part));
  sent.forEach(({ key, part }, index) => {
    if (found[index] || part < 0) return;
    // It was on its way while the part changed.
    const parts = [...(counts.get(key)?.keys() ?? [])].toSorted((a, b) => Math.abs(a - part) - Math.abs(b - part));
    found[index] = parts.some((one) => take(key, one));
  });
  return found;
}

/** The address that the sender's is translated to on the way: the one whose datagrams are most of the sender's. */
export function translationOf(sender: Captured, receivers: readonly Captured[]): string | undefined {
  const clients = new Set(sender.flows.map(({ client }) => client));
  const sent = new Set(sender.requests.map(({ hash }) => hash));
  const hits = new Map<string, number>();
  for (const receiver of receivers)
    for (const { flow, hash } of receiver.requests) {
      const { client } = flowOf(receiver, flow);
      if (clients.has(client)) return undefined;
      if (sent.has(hash)) hits.set(client, (hits.get(client) ?? 0) + 1);
    }
  return [...hits].toSorted(([, a], [, b]) => b - a)[0]?.[0];
}

/**
 * The window that each datagram belongs to; -1: none of them. While an edge is sampled nobody knows when its counters were
 * read: of what was sent meanwhile half counts for the window before, half for the one after. `edge` marks what was left
 * out so at the first and last edge, which the counters may have counted.
 */
export function windowsOf(seen: readonly Seen[], windows: number): { window: number; edge: boolean }[] {
  const during = new Map<number, number>();
  for (const { part } of seen) during.set(part, (during.get(part) ?? 0) + 1);
  const before = new Map<number, number>();
  return seen.map(({ part }) => {
    if (part < 1 || part > 2 * windows + 1) return { window: -1, edge: false };
    if (part % 2 === 0) return { window: part / 2 - 1, edge: false };
    const nth = before.get(part) ?? 0;
    before.set(part, nth + 1);
    const window = (part - 1) / 2 - (2 * nth < (during.get(part) ?? 0) ? 1 : 0);
    return window < 0 || window >= windows ? { window: -1, edge: true } : { window, edge: false };
  });
}
