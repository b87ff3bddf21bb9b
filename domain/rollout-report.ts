import { groupsOf } from './plan.ts';
import { changeMarkdown, decisionsMarkdown, escape, row } from './report.ts';
import type { RolloutResult } from './rollout.ts';

/** The report of a rollout in Markdown: what was approved, what became of each target, and what was read back. */
export function rolloutMarkdown(name: string, result: Omit<RolloutResult, 'report'>): string {
  const lines = [`# Rollout ${name}: ${result.outcome}`, '', `${escape(result.says)}.`, ''];
  if (result.signed) {
    const { rollout, digest } = result.signed;
    const { rules } = rollout;
    lines.push(`## Plan ${digest.slice(0, 12)}: ${rollout.title}`, '', `Asked for by ${rollout.requester}.`, '');
    for (const { operations, places } of groupsOf(rollout.waves.flat().flatMap(({ plan }) => plan.changes)))
      lines.push(...operations.map((one) => `- ${escape(one)}`), `  at ${escape(places.join(', '))}`);
    const waves = rollout.waves.map((wave, at) => `- wave ${at + 1}: ${wave.map(({ node }) => node).join(', ')}`);
    lines.push('', ...waves.map(escape), '');
    lines.push(
      `Each goes on helping for ${rules.soakSeconds} s before it is confirmed; more than ${rules.maxFailed} failures put everything back.`,
    );
  }
  lines.push(...decisionsMarkdown(result.decisions));
  lines.push('', '## Targets', '', row(['target', 'wave', 'how it stands', 'why']), row(['---', '---', '---', '---']));
  for (const one of result.rows) lines.push(row([one.target, one.wave ?? '', one.state, one.says]));
  for (const { target, changes, undone } of result.rows) {
    if (changes.length === 0) continue;
    lines.push('', `## ${escape(target)}`, '');
    for (const change of changes)
      lines.push(`- ${change.place}: ${change.outcome}; ${escape(change.says)}`, ...changeMarkdown(change));
    for (const { place, state, proof } of undone ?? [])
      lines.push(`- ${place}: put back, ${state}`, ...proof.map((line) => `- read back: ${escape(line)}`));
  }
  return [...lines, ''].join('\n');
}
