import colors from 'picocolors';

export { UserError, exit } from '../client/errors.ts';

const terminal = process.stdout.isTTY === true && process.env['TERM'] !== 'dumb';

/** Colours only on a terminal and only where NO_COLOR is not set. */
export const paint = colors.createColors(terminal && !process.env['NO_COLOR']);

/** Results go to stdout; what tells of work in progress goes to stderr, so that `--json` stays clean. */
export function print(line = ''): void {
  process.stdout.write(`${harmless(line)}\n`);
}

/**
 * Text comes from nodes, bundles and strangers' signals: nothing of it may move the cursor, set the title or turn the
 * direction of writing. Colours are our own, and harmless from others.
 */
export const harmless = (text: string): string =>
  text.replace(/\p{Cc}(\[[0-9;]*m)?|[\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, (found, colour?: string) => {
    const [first = ''] = found;
    if (first === '\n' || first === '\t' || (first === escape && colour)) return found;
    return `\ufffd${colour ?? ''}`;
  });
const escape = '\u001b';

/** Errors and remarks, beside the results. */
export const complain = (text: string): void => void process.stderr.write(`${harmless(text)}\n`);

export const printJson = (value: unknown): void => print(JSON.stringify(value, null, 2));

const live = process.stderr.isTTY === true && process.env['TERM'] !== 'dumb';
let shown = '';
let lastLine = 0;

/** One line that is replaced by the next on a terminal; elsewhere a line every ten seconds. */
export function progress(line: string): void {
  if (line === shown) return;
  shown = line;
  const shownLine = harmless(line).replaceAll('\n', ' ');
  if (live) process.stderr.write(`\r\x1b[2K${paint.dim(shownLine.slice(0, (process.stderr.columns ?? 80) - 1))}`);
  else if (line && Date.now() - lastLine > 10_000) {
    lastLine = Date.now();
    process.stderr.write(`${shownLine}\n`);
  }
}

export function clearProgress(): void {
  if (live && shown) process.stderr.write('\r\x1b[2K');
  shown = '';
}

/** Breaks a text into lines of the terminal's width, each with an indent. Words are never cut. */
export function wrapped(text: string, indent: number, width = Math.min(process.stdout.columns ?? 110, 120)): string {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(/\s+/)) {
    if (line && line.length + word.length + 1 > width - indent) {
      lines.push(line);
      line = word;
    } else line = line ? `${line} ${word}` : word;
  }
  return [...lines, line].join(`\n${' '.repeat(indent)}`);
}
