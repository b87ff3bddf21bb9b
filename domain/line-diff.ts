type Line = [mark: ' ' | '-' | '+', text: string];

/**
 * The unified diff of two texts, with three lines around each difference; '' where they are equal.
 * @param name what both are versions of, for its two first lines
 */
export function lineDiff(name: string, before: string, after: string): string {
  if (before === after) return '';
  const [all, around] = [lines(before.split('\n'), after.split('\n')), 3];
  const near = all.map((_, index) => all.slice(Math.max(0, index - around), index + around + 1).some(([mark]) => mark !== ' ')); // prettier-ignore
  const out = [`--- ${name}`, `+++ ${name}`];
  let [old, fresh] = [1, 1];
  for (let index = 0; index < all.length;) {
    const end = near.indexOf(!near[index], index);
    const hunk = all.slice(index, end === -1 ? undefined : end);
    const count = (mark: string): number => hunk.filter((one) => one[0] === ' ' || one[0] === mark).length;
    const [removed, added] = [count('-'), count('+')];
    if (near[index]) {
      out.push(`@@ -${old},${removed} +${fresh},${added} @@`, ...hunk.map(([mark, text]) => mark + text));
    }
    [old, fresh, index] = [old + removed, fresh + added, index + hunk.length];
  }
  return out.join('\n');
}

/** A shortest way from one list of lines to the other. What both begin and end with is left out of the search. */
function lines(a: readonly string[], b: readonly string[]): Line[] {
  let [head, tail] = [0, 0];
  const most = Math.min(a.length, b.length);
  while (head < most && a[head] === b[head]) head++;
  while (tail < most - head && a.at(-1 - tail) === b.at(-1 - tail)) tail++;
  const [x, y] = [a.slice(head, a.length - tail), b.slice(head, b.length - tail)];
  // Lines in common from here on; what lies between the first and the last difference is short.
  const common = Array.from({ length: x.length + 1 }, () => Array.from({ length: y.length + 1 }, () => 0));
  const at = (i: number, j: number): number => common[i]?.[j] ?? 0;
  for (let i = x.length - 1; i >= 0; i--)
    for (let j = y.length - 1; j >= 0; j--)
      (common[i] as number[])[j] = x[i] === y[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
  const same = (text: string): Line => [' ', text];
  const result: Line[] = a.slice(0, head).map(same);
  for (let [i, j] = [0, 0]; i < x.length || j < y.length;) {
    if (i < x.length && j < y.length && x[i] === y[j]) {
      result.push([' ', x[i++] as string]);
      j++;
    } else if (i < x.length && (j === y.length || at(i + 1, j) >= at(i, j + 1))) result.push(['-', x[i++] as string]);
    else result.push(['+', y[j++] as string]);
  }
  return [...result, ...a.slice(a.length - tail).map(same)];
}
