const z95 = 1.959964;

/** A proportion with its 95 % interval (Wilson's score interval). `of` must be above 0. */
export function wilson(count: number, of: number): { share: number; low: number; high: number } {
  const share = count / of;
  const square = z95 * z95;
  const middle = (share + square / (2 * of)) / (1 + square / of);
  const half = (z95 * Math.sqrt((share * (1 - share)) / of + square / (4 * of * of))) / (1 + square / of);
  return { share, low: Math.max(0, middle - half), high: Math.min(1, middle + half) };
}

/** Fewer than three losses claim nothing. */
export const significant = (lost: number): boolean => lost >= 3;

export interface Slope {
  slope: number;
  low: number;
  high: number;
}

/**
 * Ordinary least squares of y on x with an intercept, and the slope's 95 % interval (normal quantile; 8 points or more).
 * x: marked datagrams lost per chip, y: what a counter moved in it. Slope 1: the counter counts exactly our losses.
 * @returns undefined where x does not vary, so that nothing can be told
 */
export function regress(x: readonly number[], y: readonly number[]): Slope | undefined {
  const n = x.length;
  const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / n;
  const [mx, my] = [mean(x), mean(y)];
  const sxx = x.reduce((sum, value) => sum + (value - mx) ** 2, 0);
  if (n < 8 || sxx === 0) return undefined;
  const sxy = x.reduce((sum, value, index) => sum + (value - mx) * ((y[index] ?? 0) - my), 0);
  const slope = sxy / sxx;
  const rest = x.reduce((sum, value, index) => sum + ((y[index] ?? 0) - my - slope * (value - mx)) ** 2, 0);
  const half = z95 * Math.sqrt(rest / (n - 2) / sxx);
  return { slope, low: slope - half, high: slope + half };
}
