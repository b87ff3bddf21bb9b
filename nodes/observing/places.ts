import type { Place } from '../../domain/target.ts';
import { located } from '../shells/locate.ts';
import type { ShellPool } from '../shells/pool.ts';
import type { Shell } from '../shells/shell.ts';

/** The ways to the places of a run. */
export class Places {
  private readonly shells: Pick<ShellPool, 'of'>;
  /** Pods' places with a process of theirs, found once a run. */
  private readonly found = new Map<string, Promise<Place>>();

  constructor(shells: Pick<ShellPool, 'of'>) {
    this.shells = shells;
  }

  shell(node: string): Shell {
    return this.shells.of(node);
  }

  /** The place as it can be entered. @throws Error when its pod has no process there */
  async at(place: Place): Promise<Place> {
    let found = this.found.get(place.name);
    if (!found) {
      found = located(this.shell(place.node), place);
      this.found.set(place.name, found);
      found.catch(() => this.found.delete(place.name));
    }
    return found;
  }
}
