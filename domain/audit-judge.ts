import type { AuditFinding, AuditNode, AuditRow, NodeValues } from './audit.ts';
import { severities } from './audit.ts';
import type { Check } from './audit-checks.ts';
import { type Seen, auditFacts, movedSince } from './audit-facts.ts';
import { peerGroupOf, typicalOf } from './audit-peers.ts';
import { type Profile, profileOf } from './audit-profile.ts';
import { expression, template } from './cel.ts';

/** Nodes as they were read, with the reason for those that were not. */
export interface Reading {
  nodes: readonly AuditNode[];
  values: ReadonlyMap<string, NodeValues>;
  failed: ReadonlyMap<string, string>;
  /** Of the previous audit; empty where there was none. */
  previous: ReadonlyMap<string, NodeValues>;
  profiles: readonly Profile[];
}

/** Judges every node by every check. Pure: the same reading and checks give the same rows. */
export function auditRows(checks: readonly Check[], reading: Reading): AuditRow[] {
  const judged = checks.map(compiled);
  const { values, failed, previous } = reading;
  const read = reading.nodes.flatMap((node) => {
    const found = values.get(node.name);
    return found ? [{ node, values: found }] : [];
  });
  const typical = typicalOf(read);
  return reading.nodes.map((node): AuditRow => {
    const now = values.get(node.name);
    const empty = { node: node.name, group: node.group, findings: [], untested: {} };
    if (!now) return { ...empty, failed: failed.get(node.name) ?? 'nobody looked at it' };
    const before = previous.get(node.name) ?? 'no previous audit has seen this node';
    const moved = typeof before === 'string' ? before : movedSince(before, now);
    const seen: Seen = {
      values: now,
      previous: before,
      profile: profileOf(reading.profiles, node.name),
      peers: typical.get(peerGroupOf(node, now)) ?? 'it has no peers',
    };
    const untested: Record<string, string> = {};
    const found = findings(judged, seen, untested, typeof moved === 'string' ? moved : undefined);
    const compared = typeof moved === 'string' ? { void: moved } : { hours: moved.hours };
    return { ...empty, ...compared, findings: found, untested };
  });
}

interface Compiled {
  check: Check;
  when: (facts: Record<string, unknown>) => unknown;
  says: (facts: Record<string, unknown>) => string;
}

function compiled(check: Check): Compiled {
  const when = expression(check.when, 'audit');
  return { check, when: (facts) => when.evaluate(facts), says: template(check.says, 'audit') };
}

/** Worst first. What could not be judged is put into `untested`; what was not asked for (a profile) is nowhere. */
function findings(
  judged: readonly Compiled[],
  seen: Seen,
  untested: Record<string, string>,
  uncompared: string | undefined,
): AuditFinding[] {
  const facts = auditFacts(seen);
  const found: AuditFinding[] = [];
  for (const { check, when, says } of judged) {
    if (check.needs.includes('profile') && !seen.profile) continue;
    if (check.needs.includes('kube-proxy') && !seen.values.plane && !seen.values.missing['plane']) continue;
    try {
      const holds = when(facts);
      if (typeof holds !== 'boolean') throw new Error(`"${check.when}" is no yes or no`);
      if (!holds || check.under.some((id) => found.some((one) => one.check === id))) continue;
      const { id, severity, cause, remedy } = check;
      found.push({
        check: id,
        severity,
        says: says(facts).slice(0, longest),
        ...(cause !== undefined && { cause }),
        ...(remedy !== undefined && { remedy }),
      });
    } catch (error) {
      const why = whyNot(error);
      // The row says once that it cannot be compared; here is what else is not known.
      if (why !== uncompared) untested[check.id] = why;
    }
  }
  return found.toSorted((a, b) => severities.indexOf(a.severity) - severities.indexOf(b.severity));
}

/** A node's own words may be in a sentence: it may not fill the report. */
const longest = 400;

/** The library's sentence about a fact that is not there, in ours. */
function whyNot(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  const key = /No such key: (\S+)/.exec(text)?.[1];
  return key === undefined ? (text.split('\n')[0] ?? '').slice(0, 200) : `${key} could not be read here`;
}

/** The number that a check plots, of every node where it is known. */
export function plotted({ plot }: Check, all: ReadonlyMap<string, NodeValues>): [node: string, value: number][] {
  if (!plot) return [];
  const number = expression(plot.value, 'audit');
  return [...all].flatMap(([node, values]): [string, number][] => {
    try {
      const value = number.evaluate(
        auditFacts({ values, previous: 'not compared', profile: undefined, peers: 'not compared' }),
      );
      return typeof value === 'number' && Number.isFinite(value) ? [[node, value]] : [];
    } catch {
      return []; // not known there: the table of the report says why
    }
  });
}
