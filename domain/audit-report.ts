import { type AuditFinding, type AuditRecord, type AuditRow, type Severity, cancelledFirst, severities } from './audit.ts'; // prettier-ignore
import type { Check } from './audit-checks.ts';
import { escape, row } from './report.ts';

/** Nodes that say the same of one check, as reports show them: 400 nodes are one line and not 400. */
export interface FindingGroup extends AuditFinding {
  title: string;
  nodes: string[];
}

export const titles: Record<Severity, string> = {
  danger: 'In danger',
  drift: 'Not as they should be',
  note: 'Worth knowing',
};

/** Findings of one severity, those of the runbook's first checks first; equal sentences are one. */
export function grouped(checks: readonly Check[], rows: readonly AuditRow[], severity: Severity): FindingGroup[] {
  const groups = new Map<string, FindingGroup>();
  for (const { node, findings } of rows)
    for (const finding of findings.filter((one) => one.severity === severity)) {
      const key = JSON.stringify([finding.check, finding.says]);
      const known = groups.get(key);
      if (known) known.nodes.push(node);
      else {
        const title = checks.find(({ id }) => id === finding.check)?.title ?? finding.check;
        groups.set(key, { ...finding, title, nodes: [node] });
      }
    }
  const order = (one: FindingGroup): number => checks.findIndex(({ id }) => id === one.check);
  return [...groups.values()].toSorted((a, b) => order(a) - order(b) || b.nodes.length - a.nodes.length);
}

export const unreachableOf = (rows: readonly AuditRow[]): { node: string; why: string }[] =>
  rows.flatMap(({ node, failed }) => (failed === undefined ? [] : [{ node, why: failed }]));

/** Reasons why checks were not made -> how many nodes each, the most frequent first. */
export function untestedOf(rows: readonly AuditRow[]): { check: string; why: string; nodes: string[] }[] {
  const found = new Map<string, { check: string; why: string; nodes: string[] }>();
  const add = (check: string, why: string, node: string): void => {
    const key = JSON.stringify([check, why]);
    const known = found.get(key) ?? { check, why, nodes: [] };
    found.set(key, known);
    known.nodes.push(node);
  };
  for (const { node, untested, void: uncompared } of rows) {
    if (uncompared !== undefined) add('what moved since the previous audit', uncompared, node);
    for (const [check, why] of Object.entries(untested)) add(check, why, node);
  }
  return [...found.values()].toSorted((a, b) => b.nodes.length - a.nodes.length);
}

/** How many nodes have each severity as their worst, and one sentence about all. */
export function countsOf(rows: readonly AuditRow[]): Record<Severity, number> {
  const worst = rows.map(({ findings }) => findings[0]?.severity);
  return Object.fromEntries(severities.map((one) => [one, worst.filter((is) => is === one).length])) as Record<Severity, number>; // prettier-ignore
}

export function summaryOf(rows: readonly AuditRow[]): string {
  const { danger, drift } = countsOf(rows);
  const unread = unreachableOf(rows);
  const left = unread.filter(({ why }) => why === cancelledFirst).length;
  const fine = rows.length - danger - drift - unread.length;
  const parts = [
    `${danger} in danger`,
    `${drift} not as they should be`,
    `${unread.length - left} could not be read`,
    `${fine} fine`,
    ...(left ? [`${left} not read before it was cancelled`] : []),
  ];
  return `${rows.length} nodes: ${parts.join(', ')}`;
}

const mostNames = 30;
/** `n1, n2 and 12 more`. */
export const names = (nodes: readonly string[], most = mostNames): string =>
  nodes.length > most ? `${nodes.slice(0, most).join(', ')} and ${nodes.length - most} more` : nodes.join(', ');

/** The report of an audit in Markdown: dangers, nodes that could not be read, drift, what was not tested, all nodes. */
export function auditMarkdown(checks: readonly Check[], { id, inventory, at, rows, judgedBy }: AuditRecord): string {
  const lines = [`# Audit of ${escape(inventory)}: ${summaryOf(rows)}`, ''];
  lines.push(`Audit ${id}, ${new Date(at).toISOString()}.`);
  for (const severity of severities) {
    section(titles[severity], grouped(checks, rows, severity));
    if (severity === 'danger') unreachable();
  }
  const untested = untestedOf(rows);
  if (untested.length) {
    lines.push('', '## Not tested, and why', '', row(['check', 'why', 'nodes']), row(['---', '---', '---']));
    for (const { check, why, nodes } of untested) lines.push(row([check, why, names(nodes, 10)]));
  }
  lines.push('', `Judged by audit.yaml ${judgedBy.slice(0, 12)}.`, '');
  return lines.join('\n');

  function section(title: string, groups: readonly FindingGroup[]): void {
    if (groups.length === 0) return;
    lines.push('', `## ${title}`, '');
    lines.push(row(['what', 'nodes', 'cause', 'remedy']), row(['---', '---', '---', '---']));
    for (const { title: what, says, nodes, cause, remedy } of groups)
      lines.push(row([`${what}: ${says}`, names(nodes), cause ?? '', remedy ?? '']));
  }

  function unreachable(): void {
    const found = unreachableOf(rows);
    if (found.length === 0) return;
    lines.push('', '## Could not be read', '', row(['node', 'why']), row(['---', '---']));
    for (const { node, why } of found) lines.push(row([node, why]));
  }
}
