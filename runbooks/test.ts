import { readFileSync, readdirSync } from 'node:fs';
import { basename, join, relative } from 'node:path';
import { z } from 'zod';
import { passiveStep } from '../domain/evidence.ts';
import { conclude } from '../domain/conclude.ts';
import type { Cause, Runbook } from '../domain/runbook.ts';
import type { VerdictKind } from '../domain/verdict.ts';
import { FileError, parseYaml } from '../domain/yaml.ts';
import { evidenceFor } from './cases/evidence.ts';
import { Case } from './cases/form.ts';
import { udpLoss } from './load.ts';

export interface LoadedCase extends Case {
  file: string;
  cause: string;
}

export interface CaseResult {
  file: string;
  cause: string;
  name: string;
  at: string;
  expected: VerdictKind;
  /** `not judged`: the cause does not look at places of this role. */
  got: VerdictKind | 'not judged';
  says: string;
  ok: boolean;
  /** What differs from the expectation, one sentence each. */
  wrong: string[];
}

export interface Coverage {
  cause: string;
  proved: boolean;
  refuted: boolean;
  /** Ways of refuting and needs by which no case was decided, as the cause file words them. */
  undecided: string[];
}

/**
 * Reads the cases of a runbook: `tests/<cause-id>.yaml`, one file a cause.
 * @throws FileError with file, line and field of every fault of every file
 */
export function loadCases(runbook: Runbook, folder: string = join(udpLoss, 'tests')): LoadedCase[] {
  const schema = caseFile(runbook);
  const faults: string[] = [];
  const names = readdirSync(folder).filter((name) => name.endsWith('.yaml'));
  const cases = names.toSorted().flatMap((name): LoadedCase[] => {
    const file = relative(process.cwd(), join(folder, name));
    try {
      const { cause, cases: found } = parseYaml(readFileSync(join(folder, name), 'utf8'), file, schema);
      if (basename(name, '.yaml') !== cause.toLowerCase()) faults.push(`${file}: it is about ${cause}, so name it so`);
      return found.map((one) => ({ ...one, file, cause }));
    } catch (error) {
      if (!(error instanceof FileError)) throw error;
      faults.push(error.message);
      return [];
    }
  });
  if (faults.length > 0) throw new FileError(faults.join('\n'));
  return cases;
}

function caseFile({ causes, methodology }: Runbook) {
  const steps = new Set([passiveStep, ...methodology.steps.map(({ id }) => id)]);
  const ids = z.enum(causes.map(({ id }) => id));
  return z.strictObject({ cause: ids, cases: z.array(Case).min(1) }).superRefine(({ cases }, context) => {
    cases.forEach((one, index) =>
      one.windows.forEach(({ step }, window) => {
        if (steps.has(step)) return;
        const path = ['cases', index, 'windows', window, 'step'];
        context.addIssue({ code: 'custom', path, message: `there is no step ${step}` });
      }),
    );
  });
}

/** Judges each case by the whole runbook: the cause must get its verdict, and nothing else may be proved beside it. */
export function runCases(runbook: Runbook, cases: readonly LoadedCase[]): CaseResult[] {
  return cases.map((one): CaseResult => {
    const { verdicts } = conclude(runbook, evidenceOfCase(runbook, one));
    const verdict = verdicts.find(({ cause, place }) => cause === one.cause && place === one.at);
    const beside = verdicts.flatMap(({ cause, place, kind }) =>
      kind === 'proved' && !(cause === one.cause && place === one.at) ? [`${cause}@${place}`] : [],
    );
    const got = verdict?.kind ?? 'not judged';
    const says = verdict?.says ?? '';
    const wrong = [
      ...(got === one.expect ? [] : [`expected ${one.expect}, got ${got}`]),
      ...[one.says].flat().flatMap((text) => (says.includes(text) ? [] : [`the sentence does not say "${text}"`])),
      ...(verdict?.effectOf === one.effectOf ? [] : [`it is an effect of ${verdict?.effectOf ?? 'nothing'}`]),
      ...(verdict?.next === one.next ? [] : [`it asks for ${verdict?.next ?? 'no step'}`]),
      ...beside.flatMap((other) => (one.beside.includes(other) ? [] : [`${other} is proved as well`])),
      ...one.beside.flatMap((other) => (beside.includes(other) ? [] : [`${other} is not proved`])),
    ];
    const { file, cause, name, at, expect } = one;
    return { file, cause, name, at, expected: expect, got, says, ok: wrong.length === 0, wrong };
  });
}

function evidenceOfCase({ methodology }: Runbook, one: LoadedCase) {
  try {
    return evidenceFor(one, methodology);
  } catch (error) {
    throw new FileError(`${one.file}: "${one.name}": ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** Which branches of each cause the passing cases have taken. A cause that can never be refuted or proved is a bug. */
export function coverage(runbook: Runbook, results: readonly CaseResult[]): Coverage[] {
  return runbook.causes.map((cause) => {
    const passed = results.filter((result) => result.ok && result.cause === cause.id);
    const reached = (kind: VerdictKind): boolean => passed.some(({ got }) => got === kind);
    return {
      cause: cause.id,
      proved: reached('proved'),
      refuted: reached('refuted'),
      undecided: undecided(cause, passed),
    };
  });
}

/** A verdict does not say which condition decided it, but its sentence is that condition's, with numbers in it. */
function undecided(cause: Cause, passed: readonly CaseResult[]): string[] {
  const decided = (kind: VerdictKind, says: string): boolean => {
    const words = says.split(/\{[^}]+\}/).map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`));
    const pattern = new RegExp(`^${words.join('.*')}$`, 's');
    return passed.some((result) => result.got === kind && pattern.test(result.says));
  };
  return [
    ...cause.refute.flatMap(({ says }) => (decided('refuted', says) ? [] : [says])),
    ...cause.needs.flatMap(({ says }) => (decided('untested', says) ? [] : [says])),
  ];
}
