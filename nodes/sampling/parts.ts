/** What came of reading one part: its lines, or why there are none. */
export interface Part {
  lines: string[];
  missing?: string;
  cut: boolean;
}

export class SampleError extends Error {}

/**
 * Splits the sampler's output into its parts. Only lines with the nonce of this reading mark a part, so text that a node
 * prints cannot pose as one.
 * @throws SampleError when the output does not end with the sampler's last line: nothing of it can be trusted then
 */
export function splitParts(output: string, nonce: string): Map<string, Part> {
  const parts = new Map<string, Part>();
  const mark = `#${nonce} `;
  let name = '';
  let lines: string[] = [];
  let status: number | undefined;
  let done = false;
  for (const line of output.split('\n')) {
    if (!line.startsWith(mark)) {
      if (name && line !== '') lines.push(line);
      continue;
    }
    const [word, first = '', ...rest] = line.slice(mark.length).split(' ');
    if (word === 'begin') {
      [name, lines, status] = [first, [], undefined];
    } else if (word === 'rc') {
      status = Number(first);
    } else if (word === 'miss') {
      parts.set(first, { lines: [], missing: rest.join(' '), cut: false });
    } else if (word === 'end') {
      // Cut at its bound (no status line) or killed halfway: its last line may be half a line.
      const cut = status === undefined || status > 128;
      if (!parts.has(name)) parts.set(name, { lines: cut ? lines.slice(0, -1) : lines, cut });
      const why = failure(status, lines);
      if (why) parts.set(name, { lines: [], missing: why, cut: false });
      name = '';
    } else if (word === 'done') {
      done = true;
    }
  }
  if (!done) throw new SampleError('the reading broke off before its last line: it is void');
  return parts;
}

function failure(status: number | undefined, lines: string[]): string | undefined {
  if (status === 124 || status === 143) return 'it took longer than 2 s and was given up';
  // A command that printed something and then failed (a grep without matches, a device that went away) is still read.
  if (status !== undefined && status !== 0 && lines.length === 0) return `it failed with status ${status}`;
  return undefined;
}
