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
