import { Counter, Gauge, Histogram, Registry } from 'prom-client';

/** What the gateway counts; every label has few values, none of them a stranger's. */
export class Metrics {
  readonly registry = new Registry();
  readonly deliveries = new Counter({
    name: 'undrop_deliveries_total',
    help: 'Messages of incident tooling by what became of them: accepted, queued, repeated, ignored, unmapped, forged, limited, too-large, unavailable, failed',
    labelNames: ['source', 'outcome'] as const,
    registers: [this.registry],
  });
  readonly answers = new Histogram({
    name: 'undrop_delivery_seconds',
    help: 'Time until a sender had its answer',
    buckets: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2],
    registers: [this.registry],
  });
  readonly waiting: Gauge;
  readonly decisions = new Counter({
    name: 'undrop_decisions_total',
    help: 'Decisions by door and whether they counted: yes, no, or unknown where no worker said so in time',
    labelNames: ['door', 'counted'] as const,
    registers: [this.registry],
  });

  /** @param waiting how many deliveries wait in the inbox */
  constructor(waiting: () => Promise<number>) {
    this.waiting = new Gauge({
      name: 'undrop_inbox_waiting',
      help: 'Deliveries that were acknowledged and not yet carried out',
      registers: [this.registry],
      async collect() {
        this.set(await waiting());
      },
    });
  }
}
