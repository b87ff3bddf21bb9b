import { type Shell, run } from '../shells/shell.ts';

const deadlineMs = 8_000;

// A rule of its own counts, whoever loaded it. Then an entry: the session that asks is itself one of the kubelet's.
const script = `port=$1
{ nft list ruleset 2>/dev/null | grep -E "dport $port .*notrack"; iptables-save -t raw 2>/dev/null | grep -E -- "--dport $port .*-j (NOTRACK|CT --notrack)"; } | grep -q . && { echo exempt; exit; }
conntrack -L -p tcp --orig-port-dst "$port" 2>/dev/null | grep -q . && echo tracked`;

/**
 * Whether a node tracks the connections to its kubelet, so that a full table refuses new ones.
 * @returns undefined where that cannot be seen
 */
export async function tracksManagement(shell: Shell, port: number): Promise<boolean | undefined> {
  const outcome = await run(shell, { argv: ['sh', '-c', script, 'sh', String(port)], deadlineMs });
  if (outcome.kind !== 'exited') return undefined;
  const said = outcome.stdout.trim();
  return said === '' ? undefined : said === 'tracked';
}
