import { causeOf } from '../domain/errors.ts';

/** Has the report of what ended written. What was done on the nodes must not be lost because a disk is full. */
export async function withReport<T extends { says: string }>(
  whole: T,
  write: (whole: T) => Promise<string>,
): Promise<T & { report?: string }> {
  const report = await write(whole).catch(causeOf);
  return report.endsWith('.md')
    ? { ...whole, report }
    : { ...whole, says: `${whole.says}; the report could not be written (${report})` };
}
