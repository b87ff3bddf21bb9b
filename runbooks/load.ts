import { createHash } from 'node:crypto';
import { readFileSync, readdirSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { AuditFile, type Checks } from '../domain/audit-checks.ts';
import { Cause, Methodology, Remedy, type Runbook } from '../domain/runbook.ts';
import { passiveStep } from '../domain/evidence.ts';
import { FileError, parseYaml } from '../domain/yaml.ts';

export const udpLoss = fileURLToPath(new URL('udp-loss', import.meta.url));

/**
 * Reads and checks a runbook folder: runbook.yaml, causes/<family>/<id>.yaml, remedies/<id>.yaml. Its digest covers the
 * bytes of all of them, so that a run can name exactly what judged it.
 * @throws FileError with every fault of every file
 */
export function loadRunbook(folder: string = udpLoss): Runbook {
  const hash = createHash('sha256');
  const faults: string[] = [];
  const read = <T>(path: string, schema: Parameters<typeof parseYaml<T>>[2]): T[] => {
    const text = readFileSync(path, 'utf8');
    hash.update(`${relative(folder, path)}\0${text.length}\0${text}`);
    try {
      return [parseYaml(text, relative(process.cwd(), path), schema)];
    } catch (error) {
      if (!(error instanceof FileError)) throw error;
      faults.push(error.message);
      return [];
    }
  };
  const [methodology] = read(join(folder, 'runbook.yaml'), Methodology);
  const causes = yamlFiles(join(folder, 'causes')).flatMap((path) => read(path, Cause));
  const remedies = yamlFiles(join(folder, 'remedies')).flatMap((path) => read(path, Remedy));
  if (methodology) faults.push(...crossFaults(methodology, causes, remedies));
  if (faults.length > 0 || !methodology) throw new FileError(faults.join('\n'));
  return { digest: hash.digest('hex'), methodology, causes, remedies };
}

/**
 * The checks of an audit, audit.yaml beside the runbook. They have a digest of their own: no plan hangs on them.
 * @throws FileError with every fault, also causes and remedies that the runbook does not have
 */
export function loadChecks({ causes, remedies }: Runbook, folder: string = udpLoss): Checks {
  const path = join(folder, 'audit.yaml');
  const text = readFileSync(path, 'utf8');
  const { checks } = parseYaml(text, relative(process.cwd(), path), AuditFile);
  const faults = checks.flatMap(({ id, cause, remedy, under }, index) => [
    ...(checks.findIndex((one) => one.id === id) < index ? [`check ${id}: there are two`] : []),
    ...(cause === undefined || causes.some((one) => one.id === cause) ? [] : [`check ${id}: there is no cause ${cause}`]),
    ...(remedy === undefined || remedies.some((one) => one.id === remedy) ? [] : [`check ${id}: there is no remedy ${remedy}`]),
    ...under.flatMap((one) => (checks.slice(0, index).some((other) => other.id === one) ? [] : [`check ${id}: no check ${one} stands before it`])),
  ]); // prettier-ignore
  if (faults.length) throw new FileError(faults.join('\n'));
  return { digest: createHash('sha256').update(text).digest('hex'), checks };
}

function yamlFiles(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.yaml'))
    .map((entry) => join(entry.parentPath, entry.name))
    .toSorted();
}

/** What one file says of another: ids that do not exist, or exist twice. */
function crossFaults(methodology: Methodology, causes: Cause[], remedies: Remedy[]): string[] {
  const faults: string[] = [];
  const steps = new Set([passiveStep, ...methodology.steps.map(({ id }) => id)]);
  const causeIds = new Set(causes.map(({ id }) => id));
  const remedyIds = new Set(remedies.map(({ id }) => id));
  if (causeIds.size < causes.length) faults.push('two causes have the same id');
  for (const cause of causes) {
    const missing = (kind: string, ids: readonly string[], known: Set<string>): void =>
      ids.filter((id) => !known.has(id)).forEach((id) => faults.push(`cause ${cause.id}: there is no ${kind} ${id}`));
    missing('step', [...(cause.steps ?? []), ...(cause.next ? [cause.next.step].flat() : [])], steps);
    missing('cause', cause.effectOf, causeIds);
    missing('remedy', cause.remedies, remedyIds);
    if (!methodology.families.includes(cause.family))
      faults.push(`cause ${cause.id}: runbook.yaml does not list its family`);
  }
  return faults;
}
