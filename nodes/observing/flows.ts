import { type Shell, run } from '../shells/shell.ts';

const deadlineMs = 8_000;
/** So many destinations with most flows are told by name; all are counted. */
const mostDestinations = 500;

/** The UDP flows that a node tracks, by where they lead. */
export interface TrackedFlows {
  udp: number;
  /** `address:port` that answers -> its flows. */
  to: Record<string, number>;
}

// The answering address is the second src of a line: after translation, so an endpoint and not a Service.
const script = `set -o pipefail 2>/dev/null; conntrack -L -p udp 2>/dev/null | awk '{
  a = p = ""; n = m = 0
  for (i = 1; i <= NF; i++) { if ($i ~ /^src=/ && ++n == 2) a = substr($i, 5); if ($i ~ /^sport=/ && ++m == 2) p = substr($i, 7) }
  all++; if (a != "") to[a ":" p]++
} END { print "all", all + 0; for (key in to) print to[key], key }' | sort -rn | head -n ${mostDestinations + 1}`;

/** @throws Error that says why the node's flows could not be listed */
export async function trackedFlows(shell: Shell): Promise<TrackedFlows> {
  const outcome = await run(shell, { argv: ['sh', '-c', script], deadlineMs });
  if (outcome.kind !== 'exited') throw new Error(outcome.why);
  const lines = outcome.stdout.split('\n').filter(Boolean);
  const all = lines.find((line) => line.startsWith('all '));
  // Without the tool an empty list would say that nothing lives there.
  if (outcome.code !== 0 || all === undefined) throw new Error('conntrack could not list the flows');
  const to = lines.flatMap((line) => {
    const [count = '', key = ''] = line.split(' ');
    return count === 'all' || key === '' ? [] : [[key, Number(count)] as const];
  });
  return { udp: Number(all.slice(4)), to: Object.fromEntries(to) };
}
