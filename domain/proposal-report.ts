import { type Proposal, fieldsOf } from './proposal.ts';

/** A block that nothing in its text can end. */
function fenced(language: string, text: string): string[] {
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map(([run]) => run.length));
  const fence = '`'.repeat(longest + 1);
  return [`${fence}${language}`, text, fence];
}

/**
 * The part of a report that says what others have to change, in Markdown; none where there is nothing.
 * @param escape makes text of nodes and of the API into text of Markdown
 */
export function proposalsMarkdown(proposals: readonly Proposal[], escape: (text: string) => string): string[] {
  if (proposals.length === 0) return [];
  const lines = ['', '## Proposed to those who own it (undrop does not do it)'];
  for (const one of proposals) {
    lines.push('', `### ${escape(one.object || one.says)}`, '', `- because of ${one.cause} at ${one.place}: ${escape(one.why)}`); // prettier-ignore
    if (one.fields.length) lines.push(`- ${escape(fieldsOf(one))}`);
    if (one.owner) lines.push(`- owner: ${escape(one.owner)}`);
    if (one.afterwards) lines.push(`- afterwards: ${escape(one.afterwards)}`);
    if (one.diff) lines.push('', ...fenced('diff', one.diff));
    if (one.command) lines.push('', ...fenced('sh', one.command));
  }
  return lines;
}
