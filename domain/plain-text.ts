/** Characters of a reason that people give for a decision. */
export const mostReason = 1000;

/**
 * Text from outside as one harmless line: terminal escapes, control characters and what turns the direction of writing
 * are gone, and what is longer than `max` is cut with an ellipsis. Never executable, but still a stranger's words.
 * @param max characters (UTF-16 units), the ellipsis included
 */
export function plainText(text: string, max: number): string {
  // Cut first: a megabyte is not searched for escapes of which nothing would be kept.
  const line = text
    .slice(0, 8 * max)
    .replace(escapes, '')
    .replace(/\s/g, ' ')
    .replace(unseen, '')
    .replace(/ +/g, ' ')
    .toWellFormed()
    .trim();
  if (line.length <= max && text.length <= 8 * max) return line;
  return `${line.slice(0, max - 1).replace(/[\ud800-\udbff]$/, '')}…`;
}

/** CSI and OSC sequences as a whole, so that no "[31m" stays behind; what else begins like one loses its ESC below. */
const [esc, csi, osc, bel, st] = ['\u001b', '\u009b', '\u009d', '\u0007', '\u009c'];
const escapes = new RegExp(
  `(?:${esc}\\[|${csi})[0-?]*[ -/]*[@-~]|(?:${esc}\\]|${osc})[^${bel}${esc}${st}]*(?:${bel}|${esc}\\\\|${st})`,
  'g',
);
/** Controls, format characters (direction, zero width, tags), and what is no character at all. */
const unseen = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\ufffe\uffff]/gu;
