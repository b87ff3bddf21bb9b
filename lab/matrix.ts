import { resolved } from '../activities/resolve.ts';
import { conclude } from '../domain/conclude.ts';
import type { Runbook } from '../domain/runbook.ts';
import { evidenceOf } from '../domain/steps.ts';
import type { Path } from '../domain/target.ts';
import type { Conclusion, VerdictKind } from '../domain/verdict.ts';
import { collect } from '../nodes/observing/collect.ts';
import { ShellPool } from '../nodes/shells/pool.ts';
import type { Fault } from './fault.ts';
import { heal, inject, labInventory } from './lab.ts';

/** What the judge said while one fault was there. */
export interface MatrixRow {
  fault: Fault;
  conclusion: Conclusion;
  /** CAUSE@place of every root. */
  proved: string[];
  ok: boolean;
}

/** Injects a fault for real, diagnoses its target, heals it. The lab must be up. */
export async function diagnoseFault(fault: Fault, runbook: Runbook): Promise<MatrixRow> {
  const inventory = labInventory(fault.lab);
  const shells = new ShellPool(inventory);
  try {
    await inject(fault);
    const target = await resolved({ inventory, shells }, fault.target, 'matrix');
    const parts = await collect(shells, target.path, runbook, { ...target, windowMs: 1500 });
    const conclusion = conclude(runbook, evidenceOf(parts));
    const named = ({ cause, place }: { cause: string; place: string }): string =>
      `${cause}@${labName(target.path, place)}`;
    const proved = [...new Set(conclusion.roots.map(named))].toSorted();
    const effects = conclusion.verdicts.filter((one) => one.effectOf !== undefined).map(named);
    // An effect of the expected cause may be listed too; nothing else may be proved.
    const unexpected = proved.filter((one) => !fault.expect.includes(one));
    const missed = fault.expect.filter((one) => !proved.includes(one) && !effects.includes(one));
    return { fault, conclusion, proved, ok: unexpected.length === 0 && missed.length === 0 };
  } finally {
    // Also after half an injection; and a connection is not left open where that fails.
    try {
      await heal(fault);
    } finally {
      await shells.close();
    }
  }
}

/** Pods get new names at each start: a place of the matrix is `echo.n2`, by the first word of its name and its node. */
function labName({ places }: Path, name: string): string {
  const place = places.find((one) => one.name === name);
  return place?.uid !== undefined && name !== place.node ? `${name.split(/[-.]/)[0]}.${place.node}` : name;
}

const marks: Record<VerdictKind, string> = { proved: '**P**', suspected: 's', refuted: '·', untested: '–' };
const strength: VerdictKind[] = ['proved', 'suspected', 'refuted', 'untested'];

/** The table of faults and causes in Markdown: the strongest verdict of each cause at any place. */
export function matrixMarkdown(runbook: Runbook, rows: readonly MatrixRow[]): string {
  const ids = runbook.causes.map(({ id }) => id);
  const cell = ({ conclusion }: MatrixRow, id: string): string => {
    const verdicts = conclusion.verdicts.filter(({ cause }) => cause === id);
    const kind = strength.find((one) => verdicts.some((verdict) => verdict.kind === one));
    if (kind === 'proved' && verdicts.every((one) => one.kind !== 'proved' || one.effectOf)) return 'e';
    return kind ? marks[kind] : ' ';
  };
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const right = rows.filter(({ ok }) => ok).length;
  return [
    '# Accuracy matrix',
    '',
    `Each row is a fault that was injected into a real kernel, diagnosed and healed; ${right} of ${rows.length} rows are exactly as`,
    'they must be: the expected cause is proved at the expected place, and nothing else. `undrop lab matrix --write` makes this page.',
    '',
    '**P** proved · e proved, as an effect of another · s suspected · · ruled out by a number · – not tested here',
    '',
    line(['fault', 'must prove', 'right', ...ids]),
    line(['---', '---', ':-:', ...ids.map(() => ':-:')]),
    ...rows.map((row) =>
      line([
        `${row.fault.id}${row.fault.confuser ? ' (confuser)' : ''}`,
        row.fault.expect.join(', ') || 'nothing',
        row.ok ? 'yes' : `**no**: ${row.proved.join(', ') || row.conclusion.kind}`,
        ...ids.map((id) => cell(row, id)),
      ]),
    ),
    '',
  ].join('\n');
}
