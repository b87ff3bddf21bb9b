import { UserError } from './output.ts';

const units: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

const read = (text: string): number => {
  const [, number = '', unit = 's'] = /^([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)?$/.exec(text) ?? [];
  return Number(number || Number.NaN) * (units[unit] ?? Number.NaN);
};

/**
 * `500ms`, `10s`, `15m`, `1h`, `1d`, `10`: seconds without a unit.
 * @throws UserError for what is no time, or not within these two
 */
export function millisecondsOf(option: string, text: string, [least, most]: [string, string]): number {
  const ms = read(text);
  if (ms >= read(least) && ms <= read(most)) return ms;
  throw new UserError(`${option} takes a time of ${least} to ${most}, with ms, s, m, h or d, such as 10s`);
}
