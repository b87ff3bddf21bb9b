import { readFile, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { SignedPlan } from '../domain/plan.ts';
import type { RemediateResult } from '../domain/runs.ts';
import { UserError, complain } from './output.ts';

/** A remediation that ended, as its file in the data folder has it. */
export interface Recorded {
  run: string;
  /** When it was planned, as near as the records say: the minute of the run's name, else when the file was written. */
  at: number;
  signed: SignedPlan;
  result: RemediateResult;
}

/**
 * Every recorded remediation that has a plan, the oldest first.
 * @throws UserError when there is no such folder
 */
export async function recordedRuns(folder: string): Promise<Recorded[]> {
  const runs = await readdir(folder).catch(() => {
    throw new UserError(`there is no folder of runs ${folder}; --runs names another`);
  });
  const found: Recorded[] = [];
  for (const run of runs) {
    const names = await readdir(join(folder, run)).catch(() => []);
    for (const name of names.filter((one) => /^remediation-\w+\.json$/.test(one))) {
      const file = join(folder, run, name);
      try {
        const result = JSON.parse(await readFile(file, 'utf8')) as RemediateResult;
        const { signed } = result;
        if (!signed?.plan?.changes || !Array.isArray(result.changes)) continue;
        found.push({ run, at: minuteOf(run) ?? (await stat(file)).mtimeMs, signed, result });
      } catch (error) {
        complain(`${file}: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
  }
  return found.toSorted((a, b) => a.at - b.at);
}

/** `20261124-2107-287ac1` began at 21:07 UTC. */
function minuteOf(run: string): number | undefined {
  const [, year, month, day, hour, minute] = /^(\d{4})(\d\d)(\d\d)-(\d\d)(\d\d)-/.exec(run) ?? [];
  const at = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:00Z`);
  return Number.isNaN(at) ? undefined : at;
}
