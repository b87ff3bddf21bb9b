import { loadRunbook } from '../../runbooks/load.ts';
import type { Remedy } from '../../domain/runbook.ts';
import type { DiagnoseResult } from '../../domain/runs.ts';
import type { Conclusion } from '../../domain/verdict.ts';
import { paint, print, wrapped } from '../output.ts';
import { printConclusion } from './conclusion.ts';

/** The answer of a diagnosis and where to go on from it. Without the whole conclusion, which may be elsewhere, its sum. */
export function printDiagnosis(result: DiagnoseResult, conclusion: Conclusion | undefined, all = false): void {
  if (conclusion) printConclusion(loadRunbook(), conclusion, all);
  else {
    print();
    print(`${paint.bold(result.kind)}  ${wrapped(result.says, result.kind.length + 2)}`);
    print(paint.dim('the evidence and the full report are on the machine of the worker'));
  }
  print(`${paint.dim('report')}  ${result.report}/report.md`);
  const remedies = remediesFor(result);
  const changes = remedies.some(({ operations }) => operations.length > 0) ? `, then undrop approve ${result.run}` : '';
  if (result.remediation !== undefined) print(`${paint.dim('plan')}    undrop show ${result.run}${changes}`);
  else if (remedies.length > 0 && !conclusion?.passive) print(`${paint.dim('plan')}    undrop plan ${result.run}`);
}

/** What a plan would take: the remedies of the first proved cause that has any. */
function remediesFor({ roots }: DiagnoseResult): Remedy[] {
  const runbook = loadRunbook();
  const ids = roots.map(({ cause }) => runbook.causes.find(({ id }) => id === cause)?.remedies ?? []);
  const first = ids.find((some) => some.length > 0) ?? [];
  return runbook.remedies.filter(({ id }) => first.includes(id));
}
