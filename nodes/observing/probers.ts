import type { Place } from '../../domain/target.ts';
import { Prober } from '../probing/prober.ts';
import type { Places } from './places.ts';

/** A prober that nobody asks ends itself after this time, so that a killed worker leaves nothing on a node. */
const lifeMs = 180_000;

/** The probers of one run, a process on each place that sends or answers: they stay open from step to step. */
export class Probers {
  private readonly places: Places;
  private readonly run: string;
  private readonly open = new Map<string, Prober>();

  /** @param run 16 hex digits that mark this run's datagrams */
  constructor(places: Places, run: string) {
    this.places = places;
    this.run = run;
  }

  /**
   * The prober of a place; a new one where the last has ended, was lost with its connection, or has too little life left
   * for so many milliseconds. @throws Error that names the place, when none can be begun there
   */
  async at(place: Place, needMs: number): Promise<Prober> {
    const known = this.open.get(place.name);
    if (known?.usable(needMs)) return known;
    known?.close();
    const prober = new Prober(await this.places.at(place), this.run);
    this.open.set(place.name, prober);
    await prober.open(this.places.shell(place.node), Math.max(lifeMs, 2 * needMs));
    return prober;
  }

  /** The same, with undrop's own listener: its `port` is where to send. */
  async listener(place: Place, needMs: number): Promise<Prober> {
    const prober = await this.at(place, needMs);
    if (prober.port === 0) await prober.listen();
    return prober;
  }

  /** Ends all of them. */
  close(): void {
    for (const prober of this.open.values()) prober.close();
    this.open.clear();
  }
}
