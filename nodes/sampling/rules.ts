import type { Rule } from '../../domain/sample.ts';

/**
 * `iptables-save -c`, thinned to rules that lose or rewrite datagrams. A rule's id is its table and text, with a count
 * for equal ones, so that the same rule is found again in the next sample. `tables` are those that `nft` lists too.
 */
export function parseIptables(lines: string[], prefix = ''): { rules: Rule[]; tables: Set<string> } {
  const rules: Rule[] = [];
  const tables = new Set<string>();
  const seen = new Map<string, number>();
  let table = '';
  let nft = false;
  for (const line of lines) {
    if (line.startsWith('# Gen')) nft = line.includes('nf_tables');
    else if (line.startsWith('*')) {
      const name = line.slice(1).trim();
      table = prefix + name;
      if (nft) tables.add(`ip ${name}`);
    } else {
      const policy = /^:(\S+) DROP \[(\d+):/.exec(line);
      const rule = /^\[(\d+):\d+\] (-A .*)$/.exec(line);
      const bare = unquoted(line);
      const target = / -j (DROP|REJECT|MASQUERADE|SNAT)(?= |$)/.exec(bare)?.[1];
      if (policy) rules.push(described(`${table}: policy of ${policy[1]} DROP`, 'drop', Number(policy[2]), '', seen));
      else if (rule && target)
        rules.push(described(`${table}: ${rule[2]}`, verdictOf(target), Number(rule[1]), bare, seen));
    }
  }
  return { rules, tables };
}

/** `nft list ruleset`, thinned; tables that iptables shows already are left out, so that nothing counts twice. */
export function parseNft(lines: string[], skipped: Set<string>): Rule[] {
  const rules: Rule[] = [];
  const seen = new Map<string, number>();
  let table = '';
  let chain = '';
  for (const line of lines) {
    const tableHead = /^table (\S+ \S+)/.exec(line);
    const chainHead = /^\tchain (\S+)/.exec(line);
    if (tableHead) table = tableHead[1] ?? '';
    else if (chainHead) chain = chainHead[1] ?? '';
    else if (!skipped.has(table)) {
      const policy = /^\t\ttype .*policy drop;/.test(line);
      const bare = unquoted(line).replace(/\b(jump|goto) \S+/g, '');
      const verdict = policy ? 'drop' : /(?<=\s)(drop|reject|masquerade|snat)(?=\s|$)/.exec(bare)?.[1];
      if (!verdict || (line.startsWith('\t\ttype ') && !policy)) continue;
      const packets = /counter packets (\d+)/.exec(line)?.[1];
      const body = line.trim().replace(/counter packets \d+ bytes \d+ ?/, '');
      const text = `nft ${table} ${chain}: ${body}`;
      rules.push(
        described(text, verdict as Rule['verdict'], packets === undefined ? null : Number(packets), bare, seen),
      );
    }
  }
  return rules;
}

/** Without comments and log prefixes, in which people write anything. */
const unquoted = (line: string): string => line.replace(/"(?:\\.|[^"\\])*"/g, '""');

const verdictOf = (target: string): Rule['verdict'] => target.toLowerCase() as Rule['verdict'];

function described(
  text: string,
  verdict: Rule['verdict'],
  packets: number | null,
  match: string,
  seen: Map<string, number>,
): Rule {
  const count = seen.get(text) ?? 0;
  seen.set(text, count + 1);
  return {
    id: count ? `${text} #${count + 1}` : text,
    text: text.slice(0, 300),
    verdict,
    packets,
    protocol: protocolOf(match),
    // As the only state: a rule for INVALID,NEW drops what has nothing wrong with it as well.
    invalid: /(?<!! )--(ct)?state INVALID(?= |$)|\bct state (\{ invalid \}|invalid(?=\s|$))/.test(match),
    fragments: / -f\b|frag-off/.test(match),
    random: /--random|fully-random|\brandom\b/.test(match),
  };
}

function protocolOf(match: string): Rule['protocol'] {
  const not = /! -p (\S+)/.exec(match)?.[1];
  if (not) return /^(udp|17)$/.test(not) ? 'other' : 'udp';
  const name = /-p (\S+)/.exec(match)?.[1] ?? /(?:meta l4proto|ip protocol|ip6 nexthdr) (\w+)/.exec(match)?.[1];
  if (/^(icmp|icmpv6|ipv6-icmp|1|58)$/.test(name ?? '') || /\bicmp(v6)? type/.test(match)) return 'icmp';
  if (/^(tcp|sctp|gre|esp|6)$/.test(name ?? '') || /\btcp (dport|sport|flags)/.test(match)) return 'other';
  return 'udp';
}
