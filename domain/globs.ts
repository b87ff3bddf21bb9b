/**
 * Whether a name fits a pattern: `*` stands for anything but a slash, `**` for anything at all, everything else for
 * itself. In time that is linear in the pattern for every name: patterns are people's, names are strangers'.
 */
export function matches(glob: string, name: string): boolean {
  const pattern = glob
    .split(/(\*\*|\*)/)
    .map((part) => (part === '**' ? '.*' : part === '*' ? '[^/]*' : part.replaceAll(/[.+?^${}()|[\]\\]/g, '\\$&')))
    .join('');
  return new RegExp(`^${pattern}$`).test(name);
}
