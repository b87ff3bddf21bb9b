import { loadRunbook } from '../../runbooks/load.ts';
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
  if (result.remediation !== undefined)
    print(`${paint.dim('plan')}    undrop show ${result.run}, then undrop approve ${result.run}`);
  else if (hasRemedy(result) && !conclusion?.passive) print(`${paint.dim('plan')}    undrop plan ${result.run}`);
}

const hasRemedy = ({ roots }: DiagnoseResult): boolean =>
  loadRunbook().causes.some(({ id, remedies }) => remedies.length > 0 && roots.some(({ cause }) => cause === id));
