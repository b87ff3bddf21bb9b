/**
 * Every counter and gauge that a cause may name, with its unit and where the kernel shows it. Names are nstat's for the
 * MIBs (`UdpInErrors` is InErrors on the Udp line of /proc/net/snmp) and those of `conntrack -S` with a prefix.
 */
export interface CounterSpec {
  says: string;
  source: string;
}

const mib = (names: string, source: string, says: string): Record<string, CounterSpec> =>
  Object.fromEntries(names.split(' ').map((name) => [name, { says, source }]));

export const counters: Record<string, CounterSpec> = {
  ...mib(
    'UdpInDatagrams UdpNoPorts UdpInErrors UdpOutDatagrams UdpRcvbufErrors UdpSndbufErrors UdpInCsumErrors UdpMemErrors',
    '/proc/net/snmp',
    'datagrams',
  ),
  ...mib(
    'IpInReceives IpInHdrErrors IpInAddrErrors IpForwDatagrams IpInDiscards IpInDelivers IpOutRequests IpOutDiscards IpOutNoRoutes IpReasmTimeout IpReasmReqds IpReasmOKs IpReasmFails IpFragOKs IpFragFails IpFragCreates',
    '/proc/net/snmp',
    'packets',
  ),
  ...mib(
    'IcmpInDestUnreachs IcmpInTimeExcds IcmpOutDestUnreachs IcmpOutTimeExcds',
    '/proc/net/snmp (rate-limited: never a count of losses)',
    'messages',
  ),
  ...mib('TcpExtIPReversePathFilter IpExtInNoRoutes', '/proc/net/netstat', 'packets'),
  ...mib(
    'Udp6InDatagrams Udp6NoPorts Udp6InErrors Udp6OutDatagrams Udp6RcvbufErrors Udp6SndbufErrors Udp6InCsumErrors Udp6MemErrors Ip6InReceives Ip6InHdrErrors Ip6InAddrErrors Ip6InNoRoutes Ip6InDiscards Ip6InDelivers Ip6OutForwDatagrams Ip6OutRequests Ip6OutDiscards Ip6OutNoRoutes Ip6ReasmReqds Ip6ReasmOKs Ip6ReasmFails Ip6ReasmTimeout Ip6FragOKs Ip6FragFails Ip6FragCreates Icmp6InDestUnreachs Icmp6InTimeExcds Icmp6InPktTooBigs Icmp6OutDestUnreachs Icmp6OutTimeExcds Icmp6OutPktTooBigs',
    '/proc/net/snmp6',
    'packets',
  ),
  ...mib(
    'conntrack_found conntrack_invalid conntrack_insert_failed conntrack_drop conntrack_early_drop conntrack_clash_resolve conntrack_chaintoolong conntrack_search_restart',
    '/proc/net/stat/nf_conntrack, summed over CPUs; the columns clashres and chainlength by the names of conntrack -S',
    'packets',
  ),
  ...mib('softnet_dropped softnet_squeezed', '/proc/net/softnet_stat, columns 2 and 3, whole machine', 'packets'),
  ...mib(
    'cpu_periods cpu_throttled',
    "cpu.stat of a pod's containers, added up: nr_periods and nr_throttled",
    'periods in which they ran, and in which their CPU limit stopped them',
  ),
  ...mib('cpu_throttled_usec', 'the same: throttled_usec, or throttled_time of cgroups of version 1', 'microseconds'),
  ...mib('neigh_table_fulls neigh_unresolved_discards', '/proc/net/stat/arp_cache, host namespace only', 'packets'),
};

export const gauges: Record<string, CounterSpec> = {
  ...mib('nf_conntrack_count nf_conntrack_max nf_conntrack_buckets', '/proc/sys/net/netfilter', 'setting'),
  ...mib('ipfrag_high_thresh netdev_max_backlog gc_thresh3', '/proc/sys/net', 'setting'),
  ...mib('frag_memory', '/proc/net/sockstat', 'gauge'),
  // Read by audits only.
  ...mib('nf_conntrack_udp_timeout nf_conntrack_udp_timeout_stream', '/proc/sys/net/netfilter', 'setting'),
  ...mib('ipfrag_time ip_forward rmem_max rmem_default wmem_max netdev_budget', '/proc/sys/net', 'setting'),
  ...mib('bridge-nf-call-iptables udp_mem_max rp_filter', '/proc/sys/net', 'setting'),
  ...mib('udp_memory', '/proc/net/sockstat, pages of all UDP sockets', 'gauge'),
  ...mib('neigh_entries', '/proc/net/stat/arp_cache, host namespace only', 'gauge'),
};
