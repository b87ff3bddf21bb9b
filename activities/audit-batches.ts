import type { NodeValues } from '../domain/audit.ts';
import type { EvidenceStore } from './store.ts';

export type Batch = Record<string, NodeValues>;

/** Two audits of a thousand nodes, some 6 MB. */
const mostKept = 80;

/** Batches of the evidence store; those that this worker has read last are at hand, for the report and the next audit's. */
export class Batches {
  private readonly store: Pick<EvidenceStore, 'get'>;
  private readonly kept = new Map<string, Batch>();

  constructor(store: Pick<EvidenceStore, 'get'>) {
    this.store = store;
  }

  /** @param batch must not change any more */
  keep(digest: string, batch: Batch): void {
    this.kept.set(digest, batch);
    for (const oldest of this.kept.keys()) {
      if (this.kept.size <= mostKept) break;
      this.kept.delete(oldest);
    }
  }

  /** @throws Error when the store has none of this digest */
  async get(digest: string): Promise<Batch> {
    return this.kept.get(digest) ?? this.store.get<Batch>(digest);
  }
}
