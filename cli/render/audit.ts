import { type AuditRecord, type AuditResult, cancelledFirst, severities } from '../../domain/audit.ts';
import { grouped, names, titles, untestedOf } from '../../domain/audit-report.ts';
import { loadChecks, loadRunbook } from '../../runbooks/load.ts';
import { paint, print, wrapped } from '../output.ts';

const colours = { danger: paint.red, drift: paint.yellow, note: paint.dim };
const mostLines = 12;

/** The audit for a person: dangers first, then who could not be read, drift, what was not tested, and one line of sum. */
export function printAudit(result: AuditResult, record: AuditRecord | undefined, all = false): void {
  const { checks } = loadChecks(loadRunbook());
  for (const severity of severities) {
    const groups = record ? grouped(checks, record.rows, severity) : [];
    const shown = all ? groups : groups.slice(0, mostLines);
    if (groups.length) print(`\n${colours[severity](`${titles[severity]} (${new Set(groups.flatMap(({ nodes }) => nodes)).size})`)}`);
    for (const { title, says, nodes, cause, remedy } of shown) {
      print(`  ${paint.bold(wrapped(names(nodes, 8), 2))}  ${title}`);
      const helps = [cause, remedy].filter(Boolean).join(', ');
      print(`    ${wrapped(`${says}${helps ? ` (${helps})` : ''}`, 4)}`);
    }
    if (shown.length < groups.length) print(paint.dim(`  and ${groups.length - shown.length} more; the report has all of them`));
    if (severity === 'danger') printUnreachable(result);
  }
  const untested = record ? untestedOf(record.rows) : [];
  if (untested.length) {
    print(`\n${paint.dim(`Not tested (${untested.length})`)}`);
    for (const { check, why, nodes } of all ? untested : untested.slice(0, 4))
      print(paint.dim(`  ${check}: ${wrapped(`${why} (${names(nodes, 4)})`, 4)}`));
    if (!all && untested.length > 4) print(paint.dim(`  and ${untested.length - 4} more; -a lists them`));
  }
  const { counts, unreachable } = result;
  const colour = counts.danger ? paint.red : unreachable.length || counts.drift ? paint.yellow : paint.green;
  print(`\n${colour(result.says)}`);
  for (const id of result.diagnoses) print(`${paint.dim('diagnosis')}  undrop show ${id.replace('diagnose/', '')}`);
  if (!record) print(`${paint.dim('report')}  what was found, and on which nodes, is on the worker's machine:`);
  print(`${paint.dim('report')}  ${result.report}/report.html`);
} // prettier-ignore

/** Every one of them by name: a node that nobody can read may be the one in trouble. */
function printUnreachable({ unreachable }: AuditResult): void {
  const silent = unreachable.filter(({ why }) => why !== cancelledFirst);
  if (silent.length === 0) return;
  print(`\n${paint.red(`Could not be read (${silent.length})`)}`);
  for (const { node, why } of silent) print(`  ${paint.bold(node)}  ${wrapped(why, 4 + node.length)}`);
}
