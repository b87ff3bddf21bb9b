/** Whether a text fits a pattern: `*` stands for any text, also for none. It walks the text once, whatever the pattern. */
export function fits(glob: string, text: string): boolean {
  const [first = '', ...rest] = glob.split('*');
  if (rest.length === 0) return glob === text;
  const last = rest.pop() ?? '';
  if (!text.startsWith(first) || !text.endsWith(last) || text.length < first.length + last.length) return false;
  let from = first.length;
  for (const part of rest) {
    const at = text.indexOf(part, from);
    if (at < 0) return false;
    from = at + part.length;
  }
  return from <= text.length - last.length;
}

/** The same for names of several parts, such as `service/shop/*`: there `*` never stands for a slash. */
export function fitsParts(glob: string, name: string): boolean {
  const [globs, names] = [glob.split('/'), name.split('/')];
  return globs.length === names.length && globs.every((one, index) => fits(one, names[index] ?? ''));
}

/**
 * Whether patterns fit all of a target, of which `*` may be any text of one end. A pattern without `->` is for any end, and
 * each end must fit such a one: who may something with `pod/shop/*` may nothing with what a pod of it sends to. One with `->`
 * is for paths, each side for its end.
 */
export function fitsEnds(globs: readonly string[], target: string): boolean {
  const ends = endsIn(target);
  const plain = globs.filter((glob) => !glob.includes('->'));
  if (ends.every((end) => plain.some((glob) => fits(glob, end)))) return true;
  return globs.map(endsIn).some((sides) => sides.length === ends.length && sides.every((side, at) => fits(side, ends[at] ?? ''))); // prettier-ignore
}

const endsIn = (text: string): string[] => text.split('->').map((end) => end.trim());
