import { setCurrentDetails } from '@temporalio/workflow';
import { type RolloutProgress, type RolloutResult, type RolloutRow, tally } from '../domain/rollout.ts';
import { publish } from './attributes.ts';

/** How each target of a rollout stands, shown to whoever looks while it goes on. */
export class Board {
  private readonly progress: RolloutProgress;
  private readonly visible: boolean;

  constructor(progress: RolloutProgress, visible: boolean) {
    this.progress = progress;
    this.visible = visible;
  }

  readonly rowOf = (target: string): RolloutRow => {
    const row = this.progress.rows.find((one) => one.target === target);
    if (!row) throw new Error(`${target} is not of this rollout`);
    return row;
  };

  readonly stand = (target: string, state: RolloutRow['state'], says: string): void => {
    Object.assign(this.rowOf(target), { state, says });
    this.describe();
  };

  readonly show = (phase: RolloutProgress['phase'], conclusion?: RolloutResult['outcome']): void => {
    this.progress.phase = phase;
    publish(this.visible, { phase, ...(conclusion && { conclusion }) });
    this.describe();
  };

  private describe(): void {
    const { phase, rows } = this.progress;
    const lines = rows.map((row) => `- ${row.target}: **${row.state}** ${row.says}`);
    setCurrentDetails([`**${phase}**: ${tally(rows)}`, ...lines].join('\n').slice(0, 8000));
  }
}
