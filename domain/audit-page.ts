import { type AuditRecord, type AuditRow, type NodeValues, severities } from './audit.ts';
import type { Check } from './audit-checks.ts';
import { plotted } from './audit-judge.ts';
import { html, stripPlot, trendPlot } from './audit-plots.ts';
import { grouped, names, summaryOf, titles, unreachableOf, untestedOf } from './audit-report.ts';

const style = `
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5c6675;--rule:#d8dde5;--bad:#c0292b;--warn:#9a6700;--good:#1a7f4b;--blue:#2463c4;--back:#fff}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ee;--soft:#9aa4b2;--rule:#343c48;--bad:#ff7b72;--warn:#e3b341;--good:#56d38a;--blue:#79b0ff;--back:#14181e}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--back);max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2.2rem 0 .5rem;padding-top:1rem;border-top:1px solid var(--rule)}h3{font-size:.95rem;margin:1.2rem 0 .2rem}
p,td,th{overflow-wrap:anywhere}.soft,th{color:var(--soft)}.danger{color:var(--bad)}.drift{color:var(--warn)}
.big{display:flex;gap:2rem;flex-wrap:wrap;margin:1.2rem 0}.big b{display:block;font-size:1.9rem;line-height:1.1;font-variant-numeric:tabular-nums}
table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.35rem .8rem .35rem 0;border-bottom:1px solid var(--rule);font-weight:400}
svg{width:100%;height:auto;font:11px system-ui,sans-serif}svg text{fill:var(--soft)}svg line{stroke:var(--rule)}.dot{fill:var(--blue);fill-opacity:.45}.bad{fill:var(--bad)}
.line{fill:none;stroke:var(--blue);stroke-width:2}.forecast{fill:none;stroke:var(--bad);stroke-width:2;stroke-dasharray:5 4}
`;

/** So many nodes' tables are drawn over time: those that are fullest. */
const mostTrends = 8;

/**
 * The whole audit as one page: no script, nothing loaded from elsewhere, and every text of a node escaped.
 * @param values of this audit, for the plots among peers
 */
export function auditPage(checks: readonly Check[], record: AuditRecord, values: ReadonlyMap<string, NodeValues>): string {
  const { inventory, id, at, rows } = record;
  const title = html(`Audit of ${inventory}`);
  const parts = [
    `<h1>${title}</h1>`,
    `<p class="soft">${html(id)}, ${new Date(at).toISOString().slice(0, 16).replace('T', ' ')} UTC. ${html(summaryOf(rows))}.</p>`,
    numbers(rows),
    findings(checks, rows, 'danger'),
    table('Could not be read', ['node', 'why'], unreachableOf(rows).map(({ node, why }) => [node, why])),
    trends(record),
    findings(checks, rows, 'drift'),
    findings(checks, rows, 'note'),
    strips(checks, rows, values),
    table('Not tested, and why', ['check', 'why', 'nodes'], untestedOf(rows).map(({ check, why, nodes }) => [check, why, names(nodes, 10)])),
  ];
  const policy = `<meta http-equiv="content-security-policy" content="default-src 'none'; style-src 'unsafe-inline'">`;
  const head = `<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">${policy}<title>${title}</title><style>${style}</style>`;
  return `<!doctype html><html lang="en"><head>${head}</head><body>${parts.join('')}</body></html>\n`;
} // prettier-ignore

function numbers(rows: readonly AuditRow[]): string {
  const count = (fits: (row: AuditRow) => boolean): number => rows.filter(fits).length;
  const worst = (severity: string) => (row: AuditRow) => row.findings[0]?.severity === severity;
  const figure = (value: number, says: string, kind: string): string =>
    `<div class="${value ? kind : 'soft'}"><b>${value}</b>${says}</div>`;
  const rest = count((row) => row.failed === undefined && !['danger', 'drift'].includes(row.findings[0]?.severity ?? ''));
  return `<div class="big">${figure(count(worst('danger')), 'in danger', 'danger')}${figure(unreachableOf(rows).length, 'not read', 'danger')}${figure(count(worst('drift')), 'not as they should be', 'drift')}${figure(rest, 'fine', '')}</div>`;
} // prettier-ignore

function findings(checks: readonly Check[], rows: readonly AuditRow[], severity: (typeof severities)[number]): string {
  const cells = grouped(checks, rows, severity).map(({ title, says, nodes, cause, remedy }) => [
    `${title}: ${says}`,
    names(nodes),
    [cause, remedy].filter(Boolean).join(', '),
  ]);
  return table(titles[severity], ['what', 'nodes', 'cause, remedy'], cells);
}

function table(title: string, head: readonly string[], rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return '';
  const line = (cells: readonly string[], cell: string): string =>
    `<tr>${cells.map((text) => `<${cell}>${html(text)}</${cell}>`).join('')}</tr>`;
  return `<h2>${html(title)}</h2><table>${line(head, 'th')}${rows.map((cells) => line(cells, 'td')).join('')}</table>`;
}

function trends({ trend }: AuditRecord): string {
  const full = Object.entries(trend)
    .filter(([, points]) => points.length > 1)
    .toSorted(([, a], [, b]) => (b.at(-1)?.[1] ?? 0) - (a.at(-1)?.[1] ?? 0))
    .slice(0, mostTrends);
  if (full.length === 0) return '';
  const plots = full.map(([node, points]) => `<h3>${html(node)}</h3>${trendPlot(points)}`);
  return `<h2>Fill of the connection tracking table</h2><p class="soft">The fullest nodes over the last audits; dashed: where it goes as since the previous audit, unless that is too short ago to tell.</p>${plots.join('')}`;
}

function strips(checks: readonly Check[], rows: readonly AuditRow[], values: ReadonlyMap<string, NodeValues>): string {
  const plots = checks.flatMap((check) => {
    const marked = new Set(
      rows.flatMap(({ node, findings: found }) => (found.some((one) => one.check === check.id) ? [node] : [])),
    );
    const dots = plotted(check, values).map(([node, value]) => ({ node, value, marked: marked.has(node) }));
    if (dots.length === 0) return [];
    const unit = check.plot?.unit ?? '';
    return [`<h3>${html(unit)}</h3>${stripPlot(dots, unit)}`];
  });
  return plots.length ? `<h2>All nodes side by side</h2>${plots.join('')}` : '';
}
