/** What the reviver of JSON.parse gets beside key and value: the number as it is written. */
type Revive = (key: string, value: unknown, context: { source?: string }) => unknown;

/**
 * Reads JSON of a stranger: whole numbers beyond 2^53 stay as they are written, as text, and `__proto__` is no key.
 * @returns undefined for what is no JSON, no UTF-8, or nested too deep to be read
 */
export function readJson(body: Uint8Array): unknown {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(body);
    return (JSON.parse as (text: string, revive: Revive) => unknown)(text, revive);
  } catch {
    return undefined;
  }
}

const revive: Revive = (key, value, { source }) => {
  if (key === '__proto__') return undefined;
  return typeof value === 'number' && Number.isInteger(value) && !Number.isSafeInteger(value) ? source : value;
};
