/** Text of nodes, as text of HTML and of attributes. */
export const html = (text: string): string =>
  text.replaceAll(/[&<>"'`]/g, (sign) => `&#${sign.charCodeAt(0)};`).replaceAll(/\p{Cc}/gu, '\ufffd');

const width = 720;
const left = 44;
const right = 12;
const short = (value: number): string =>
  Math.abs(value) >= 1000 ? Math.round(value).toLocaleString('en-US') : String(Number(value.toFixed(2)));
const at = (value: number): string => value.toFixed(1);

/** A point of a node among its peers; `marked` ones are named. */
export interface Dot {
  node: string;
  value: number;
  marked: boolean;
}

/** One number of every node on a line from 0, so that whoever stands apart is seen. Marked nodes are named. */
export function stripPlot(dots: readonly Dot[], unit: string): string {
  const largest = Math.max(...dots.map(({ value }) => value), 1e-9);
  const x = (value: number): number => left + (value / largest) * (width - left - right);
  const points = dots.map(({ node, value, marked }, index) => {
    // Spread by place in the list, always the same: dots on one spot would be one.
    const y = 20 + ((index * 7) % 24);
    const title = `<title>${html(node)}: ${short(value)}</title>`;
    return `<circle cx="${at(x(value))}" cy="${y}" r="${marked ? 4 : 3}" class="${marked ? 'bad' : 'dot'}">${title}</circle>`;
  });
  const ticks = [0, 0.5, 1].map((share) => {
    const anchor = share === 0 ? 'start' : share === 1 ? 'end' : 'middle';
    return `<text x="${at(x(share * largest))}" y="68" text-anchor="${anchor}">${short(share * largest)}</text>`;
  });
  const label = html(`${unit}: ${dots.length} nodes from ${short(Math.min(...dots.map(({ value }) => value)))} to ${short(largest)}`);
  return `<svg viewBox="0 0 ${width} 76" role="img" aria-label="${label}"><line x1="${left}" y1="54" x2="${width - right}" y2="54"/>${points.join('')}${ticks.join('')}</svg>`;
} // prettier-ignore

/** Audits closer together show what comes and goes; only more than this share of the table in between leads somewhere. */
const near = { ms: 720_000, share: 0.1 };

/** The fill of one node's table over the last audits, and where its last slope leads. Points are [ms, share of the table]. */
export function trendPlot(points: readonly (readonly [number, number])[]): string {
  const [first, last, before] = [points[0], points.at(-1), points.at(-2)];
  if (!first || !last) return '';
  const [ms, more] = before ? [last[0] - before[0], last[1] - before[1]] : [0, 0];
  const slope = ms >= near.ms || (ms > 0 && more >= near.share) ? more / ms : 0;
  const span = Math.max(last[0] - first[0], 3_600_000);
  const fullIn = slope > 0 ? (1 - last[1]) / slope : Number.POSITIVE_INFINITY;
  const ahead = Math.min(Math.max(fullIn, 0), span);
  const end = last[0] + ahead;
  const x = (time: number): string => at(left + ((time - first[0]) / Math.max(1, end - first[0])) * (width - left - right));
  const y = (share: number): string => at(150 - Math.min(1.05, Math.max(0, share)) * 130);
  const path = points.map(([time, share], index) => `${index ? 'L' : 'M'}${x(time)} ${y(share)}`).join('');
  const forecast =
    slope > 0
      ? `<path class="forecast" d="M${x(last[0])} ${y(last[1])}L${x(end)} ${y(last[1] + slope * ahead)}"/>`
      : '';
  const clock = (time: number): string => new Date(time).toISOString().slice(5, 16).replace('T', ' ');
  const labels = `<text x="${left}" y="170">${clock(first[0])}</text><text x="${width - right}" y="170" text-anchor="end">${clock(end)}</text>`;
  const scale = [0, 0.5, 1].map((share) => `<text x="${left - 6}" y="${y(share)}" text-anchor="end">${share * 100} %</text><line class="grid" x1="${left}" y1="${y(share)}" x2="${width - right}" y2="${y(share)}"/>`).join('');
  const dots = points.map(([time, share]) => `<circle class="dot" cx="${x(time)}" cy="${y(share)}" r="2.5"><title>${clock(time)}: ${short(share * 100)} %</title></circle>`).join('');
  return `<svg viewBox="0 0 ${width} 176" role="img" aria-label="fill over time, now ${short(last[1] * 100)} %">${scale}<path class="line" d="${path}"/>${forecast}${dots}${labels}</svg>`;
} // prettier-ignore
