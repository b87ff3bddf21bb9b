# Reads one network namespace once and prints it in marked parts: sh -s -- NONCE full|light [ROUTE…] [@SERVICE…]
# POSIX sh, also busybox's. It changes nothing. Each part is bounded in bytes and time, and says how it ended:
#   #NONCE begin NAME / …lines… / #NONCE rc STATUS / #NONCE end NAME     (no rc: the part was cut at its bound)
#   #NONCE miss NAME why                                                (it could not be read at all)
# NONCE is fresh for each reading, so that nothing a node prints can pose as a part of ours.
N=$1
mode=$2
shift 2
LC_ALL=C
export LC_ALL
PATH=$PATH:/usr/sbin:/sbin:/usr/local/sbin

bounded=
command -v timeout >/dev/null 2>&1 && bounded='timeout 2'

part() { # NAME BYTES command…
  name=$1
  bytes=$2
  shift 2
  if ! command -v "$1" >/dev/null 2>&1; then
    echo "#$N miss $name no program $1"
    return
  fi
  echo "#$N begin $name"
  # A function of this script cannot run under `timeout`; what it calls is bounded there.
  case $(command -v "$1") in /*) limit=$bounded ;; *) limit= ;; esac
  { $limit "$@" 2>/dev/null </dev/null; echo "#$N rc $?"; } | head -c "$bytes"
  echo
  echo "#$N end $name"
}

file() { # NAME BYTES PATH
  if [ -r "$3" ]; then
    part "$1" "$2" cat "$3"
  elif [ -e "$3" ]; then
    echo "#$N miss $1 no permission for $3"
  else
    echo "#$N miss $1 no $3 in this network namespace"
  fi
}

filtered() { # NAME BYTES awk-program command… : only the lines that matter leave the node, its status is kept
  name=$1
  bytes=$2
  keep=$3
  shift 3
  if ! command -v "$1" >/dev/null 2>&1; then
    echo "#$N miss $name no program $1"
    return
  fi
  echo "#$N begin $name"
  { $bounded "$@" 2>/dev/null </dev/null; echo "#$N rc $?"; } | awk "/^#$N /{print; next} $keep" | head -c "$bytes"
  echo
  echo "#$N end $name"
}

identity() {
  boot=$(cat /proc/sys/kernel/random/boot_id)
  read -r up _ </proc/uptime
  echo "boot $boot"
  echo "netns $(readlink /proc/self/ns/net)"
  echo "uptime $up"
  echo "kernel $(uname -r)"
  echo "uid $(id -u)"
  echo "cpus $(grep -c ^processor /proc/cpuinfo)"
  python=$(command -v python3) && echo "python $python"
  for tool in ip flock conntrack ethtool nft iptables-save tc systemd-run; do
    command -v $tool >/dev/null 2>&1 && echo "tool $tool"
  done
}

# One grep for all of them: dash's `read` takes single bytes, and a /proc/sys file gives only one before its end.
sysctls() {
  cd /proc/sys && grep -sH '' net/netfilter/nf_conntrack_max net/netfilter/nf_conntrack_count \
    net/netfilter/nf_conntrack_buckets net/netfilter/nf_conntrack_udp_timeout \
    net/netfilter/nf_conntrack_udp_timeout_stream net/netfilter/nf_conntrack_checksum \
    net/netfilter/nf_conntrack_frag6_high_thresh net/ipv4/ip_forward net/ipv4/ipfrag_high_thresh \
    net/ipv4/ipfrag_low_thresh net/ipv4/ipfrag_time net/ipv4/udp_mem net/ipv4/udp_rmem_min net/ipv4/ip_no_pmtu_disc \
    net/ipv4/ip_local_port_range net/ipv4/icmp_ratelimit net/core/rmem_max net/core/rmem_default net/core/wmem_max \
    net/core/netdev_max_backlog net/core/netdev_budget net/core/default_qdisc net/ipv4/neigh/default/gc_thresh1 \
    net/ipv4/neigh/default/gc_thresh2 net/ipv4/neigh/default/gc_thresh3 net/bridge/bridge-nf-call-iptables \
    net/ipv4/conf/all/rp_filter
  # A node has hundreds of devices; those with a strict filter are what matters.
  grep -sH '^1' net/ipv4/conf/*/rp_filter | head -n 20
}

needs() { # NAME PROGRAM: a part that cannot be read without this program is missing, not empty
  command -v "$2" >/dev/null 2>&1 && return
  echo "#$N miss $1 no program $2"
  return 1
}

# Real and overlay devices before the many ends of pods' veth pairs; sixteen at most.
devices() {
  awk -F: 'NR > 2 { gsub(/ /, "", $1); if ($1 != "lo") print ($1 ~ /^(veth|cali|lxc|eni|azv|gke)/), $1 }' /proc/net/dev |
    sort -s -n -k1,1 | head -n 16 | cut -d' ' -f2
}

features() {
  needs features ethtool || return 0
  for dev in $(devices); do
    echo "device $dev"
    $bounded ethtool -k "$dev" 2>/dev/null | grep -v 'off \[fixed\]'
  done
}

nicstats() {
  needs nicstats ethtool || return 0
  for dev in $(devices); do
    echo "device $dev"
    $bounded ethtool -S "$dev" 2>/dev/null | grep -E 'drop|miss|err|fifo|no_buf|out_of_buf|allowance|discard' | head -n 80
  done
}

routes() {
  needs routes ip || return 0
  for address in $routes; do
    echo "to $address"
    ip route get "$address" 2>&1
  done
  true
}

entries() {
  count=$(cat /proc/sys/net/netfilter/nf_conntrack_count 2>/dev/null || echo 0)
  if [ "$count" -gt 300000 ]; then
    echo "#$N miss entries the table has $count entries, too many to list"
    return
  fi
  [ -z "$services" ] || needs entries conntrack || return 0
  for address in $services; do
    $bounded conntrack -L -p udp --orig-dst "$address" 2>/dev/null ||
      { echo "#$N miss entries conntrack -L failed with status $?"; return 0; }
  done
}

routes= services=
for word in "$@"; do
  case $word in @*) services="$services ${word#@}" ;; *) routes="$routes $word" ;; esac
done

part identity 2048 identity
file snmp 8192 /proc/net/snmp
file netstat 16384 /proc/net/netstat
file snmp6 16384 /proc/net/snmp6
file sockstat 2048 /proc/net/sockstat
file softnet 65536 /proc/net/softnet_stat
file conntrack 98304 /proc/net/stat/nf_conntrack
file arp 65536 /proc/net/stat/arp_cache
file dev 32768 /proc/net/dev
filtered iptables 24576 '/^# Gen|^\*|^:.* DROP |-j (DROP|REJECT|MASQUERADE|SNAT)/' iptables-save -c
filtered nft 24576 '/^table|^\tchain|^\t\ttype|drop|reject|masquerade|snat/' nft list ruleset
part qdisc 24576 tc -s qdisc show
part sysctls 8192 sysctls
file udp 32768 /proc/net/udp
if [ "$mode" = full ]; then
  file udp6 16384 /proc/net/udp6
  part links 49152 ip -o -d link show
  part addresses 16384 ip -o address show
  part features 32768 features
  part nicstats 16384 nicstats
  part neighbours 16384 ip -o neigh show
  part routes 4096 routes
  part entries 32768 entries
  filtered log 8192 '/nf_conntrack: |neighbour: |UDP: bad checksum|UDP: short packet|NETDEV WATCHDOG/' dmesg
fi
echo "#$N done"
