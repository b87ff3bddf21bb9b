/** The switch that stops everything of an inventory: as long as its workflow runs, nothing new begins. */
export interface Stop {
  by: string;
  reason: string;
  /** Milliseconds since the epoch. */
  at: number;
}

export const stopId = (inventory: string): string => `stopped/${inventory}`;

export const stopLine = ({ by, reason, at }: Stop): string =>
  `everything was stopped by ${by} at ${new Date(at).toISOString()} (${reason}); \`undrop resume\` lets it go on`;

/** What `undrop stop` did with one thing that was in progress. */
export interface Stopped {
  /** Id of the workflow, or of the node's journal. */
  id: string;
  kind: 'run' | 'change' | 'schedule';
  /** How it stands now: cancelled, reverted, confirmed (it had been verified before), paused, open, failed (not stopped). */
  outcome: string;
  says: string;
  /** Values read back from the node. */
  proof: string[];
}
