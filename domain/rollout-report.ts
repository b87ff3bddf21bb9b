import { described } from './operation.ts';
import { escape, row } from './report.ts';
import type { Part, RolloutResult } from './rollout.ts';

/** Targets on which the same is done, from the same values: shown once. */
export interface PartGroup {
  operations: string[];
  at: string[];
}

/** The parts of a rollout by what is done there, so that hundreds of nodes in the same state are read as one. */
export function groupsOfParts(parts: readonly Part[]): PartGroup[] {
  const groups = new Map<string, PartGroup>();
  for (const { plan } of parts)
    for (const { place, node, operations } of plan.changes) {
      const lines = operations.map(described);
      const key = lines.join('\n');
      const group = groups.get(key) ?? { operations: lines, at: [] };
      group.at.push(place === node ? place : `${place} on ${node}`);
      groups.set(key, group);
    }
  return [...groups.values()];
}

/** The report of a rollout in Markdown: what was approved, what became of each target, and what was read back. */
export function rolloutMarkdown(name: string, result: Omit<RolloutResult, 'report'>): string {
  const lines = [`# Rollout ${name}: ${result.outcome}`, '', `${escape(result.says)}.`, ''];
  if (result.signed) {
    const { rollout, digest } = result.signed;
    const { rules } = rollout;
    lines.push(`## Plan ${digest.slice(0, 12)}: ${rollout.title}`, '', `Asked for by ${rollout.requester}.`, '');
    for (const { operations, at } of groupsOfParts(rollout.waves.flat()))
      lines.push(...operations.map((one) => `- ${escape(one)}`), `  at ${escape(at.join(', '))}`);
    const waves = rollout.waves.map((wave, at) => `- wave ${at + 1}: ${wave.map(({ node }) => node).join(', ')}`);
    lines.push('', ...waves.map(escape), '');
    lines.push(
      `Each goes on helping for ${rules.soakSeconds} s before it is confirmed; more than ${rules.maxFailed} failures put everything back.`,
    );
  }
  lines.push('', '## Decisions', '');
  if (result.decisions.length === 0) lines.push('Nobody decided.');
  for (const { decision, principal, reason, at, refused } of result.decisions) {
    const counted = refused === undefined ? '' : ` (refused: ${escape(refused)})`;
    lines.push(`- ${new Date(at).toISOString()} ${escape(principal)}: ${decision}${reason ? `, "${escape(reason)}"` : ''}${counted}`); // prettier-ignore
  }
  lines.push('', '## Targets', '', row(['target', 'wave', 'how it stands', 'why']), row(['---', '---', '---', '---']));
  for (const one of result.rows) lines.push(row([one.target, one.wave ?? '', one.state, one.says]));
  for (const { target, changes, undone } of result.rows) {
    if (changes.length === 0) continue;
    lines.push('', `## ${escape(target)}`, '');
    for (const { place, outcome, says, verification, proof, id } of changes) {
      lines.push(`- ${place}: ${outcome}; ${escape(says)}`);
      for (const { step, before, after } of verification?.steps ?? [])
        lines.push(`- ${step}: lost ${before.lost} of ${before.sent} before, ${after.lost} of ${after.sent} after`);
      lines.push(...proof.map((line) => `- read back: ${escape(line)}`));
      if (id) lines.push(`- journal on the node: /run/undrop/${id}`);
    }
    for (const { place, state, proof } of undone ?? [])
      lines.push(`- ${place}: put back, ${state}`, ...proof.map((line) => `- read back: ${escape(line)}`));
  }
  return [...lines, ''].join('\n');
}
