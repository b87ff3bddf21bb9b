# Reads one network namespace once and prints it in marked parts: sh -s -- NONCE full|light [ROUTE…] [@ADDRESS/PORT…] [%PROCESS…]
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
  python=$(command -v python3) && echo "python $python"
  for tool in ip flock conntrack ethtool nft iptables-save tc systemd-run; do
    command -v $tool >/dev/null 2>&1 && echo "tool $tool"
  done
}

# One grep for all of them: dash's `read` takes single bytes, and a /proc/sys file gives only one before its end.
sysctls() {
  cd /proc/sys && grep -sH '' net/netfilter/nf_conntrack_max net/netfilter/nf_conntrack_count \
    net/netfilter/nf_conntrack_buckets net/ipv4/ipfrag_high_thresh net/core/netdev_max_backlog \
    net/ipv4/neigh/default/gc_thresh3
}

needs() { # NAME PROGRAM: a part that cannot be read without this program is missing, not empty
  command -v "$2" >/dev/null 2>&1 && return
  echo "#$N miss $1 no program $2"
  return 1
}

# Real and overlay devices before the many ends of pods' veth pairs, which `devices 0` leaves out; sixteen at most.
devices() {
  awk -F: 'NR > 2 { gsub(/ /, "", $1); if ($1 != "lo") print ($1 ~ /^(veth|cali|lxc|eni|azv|gke)/), $1 }' /proc/net/dev |
    sort -s -n -k1,1 | head -n 16 | grep "^${1:-}" | cut -d' ' -f2
}

features() {
  needs features ethtool || return 0
  # shellcheck disable=SC2016,SC2046
  $bounded sh -c 'for dev; do echo "device $dev"; ethtool -k "$dev" 2>/dev/null | grep -v "off \[fixed\]"; done; true' \
    sh $(devices)
}

# Only of devices that have hardware or a hypervisor behind them: in a namespace /sys may show those of another.
nicstats() {
  needs nicstats ethtool || return 0
  # shellcheck disable=SC2016,SC2046
  $bounded sh -c 'for dev; do
      case $(ethtool -i "$dev" 2>/dev/null | head -n 1) in
        "driver: "veth | *" bridge" | *" vxlan" | *" tun" | *" dummy" | *vlan* | *" bonding" | *" team" | *" geneve") continue ;;
        *VLAN* | *" openvswitch" | *" wireguard" | *" ifb") continue ;;
        "driver: "*) echo "device $dev" ;;
        *) continue ;;
      esac
      ethtool -S "$dev" 2>/dev/null |
        grep -E "drop|miss|err|fifo|no_buf|out_of_buf|allowance|discard" | head -n 80
    done; true' sh $(devices 0)
}

# Those that do not answer come first, and alone in a light reading: nothing else of the table can explain a loss.
neighbours() {
  needs neighbours ip || return 0
  all=$($bounded ip -o neigh show) || return
  printf '%s\n' "$all" | grep -E 'FAILED|INCOMPLETE'
  [ "$mode" = light ] || printf '%s\n' "$all" | grep -vE 'FAILED|INCOMPLETE'
  true
}

# Tables of the old kind beside those that an iptables-save for nf_tables shows: it does not know of them.
legacy() {
  [ -n "$(cat /proc/net/ip_tables_names 2>/dev/null)" ] || return 0
  if command -v iptables-save >/dev/null 2>&1; then
    case $($bounded iptables-save --version 2>/dev/null </dev/null) in *nf_tables*) ;; *) return 0 ;; esac
  fi
  filtered legacy 98304 "$rules" iptables-legacy-save -c
}

# The newest lines: a table that was full for long has written thousands.
kernel_log() {
  needs log dmesg || return 0
  all=$($bounded dmesg) || return
  printf '%s\n' "$all" | grep -E 'nf_conntrack: |neighbour: |UDP: bad checksum|UDP: short packet|NETDEV WATCHDOG' | tail -n 60
  true
}

routes() {
  needs routes ip || return 0
  for address in $routes; do
    echo "to $address"
    $bounded ip route get "$address" 2>&1
  done
  true
}

entries() {
  count=$(cat /proc/sys/net/netfilter/nf_conntrack_count 2>/dev/null || echo 0)
  if [ "$count" -gt 300000 ]; then
    echo "#$N miss entries the table has $count entries, too many to list"
    return
  fi
  [ -z "$flows" ] || needs entries conntrack || return 0
  # shellcheck disable=SC2016,SC2086
  $bounded sh -c 'for to; do conntrack -L -p udp --orig-dst "${to%/*}" --orig-port-dst "${to#*/}" 2>/dev/null || exit; done' sh $flows ||
    echo "#$N miss entries conntrack -L failed with status $?"
}

# How often a pod's containers had used up what their CPU limits allow: each by its own view of its cgroup, of version 2 or 1.
cpu() {
  for process in $processes; do
    [ -e "/proc/$process" ] || { echo "#$N miss cpu a process of the pod has ended"; return; }
    for stat in cpu.stat cpu/cpu.stat cpu,cpuacct/cpu.stat; do
      $bounded cat "/proc/$process/root/sys/fs/cgroup/$stat" 2>/dev/null && break
    done
  done
  true
}

routes= flows= processes=
for word in "$@"; do
  case $word in
    @*) flows="$flows ${word#@}" ;;
    %*) processes="$processes ${word#%}" ;;
    *) routes="$routes $word" ;;
  esac
done

part identity 2048 identity
file snmp 8192 /proc/net/snmp
file netstat 16384 /proc/net/netstat
file snmp6 16384 /proc/net/snmp6
file sockstat 2048 /proc/net/sockstat
file softnet 65536 /proc/net/softnet_stat
file conntrack 98304 /proc/net/stat/nf_conntrack
file arp 65536 /proc/net/stat/arp_cache
filtered dev 32768 '/:/ { sub(/:/, ": "); print $1, $13 }' cat /proc/net/dev
rules='/^# Gen|^\*|^:.* DROP |-j (DROP|REJECT|MASQUERADE|SNAT)/'
filtered iptables 98304 "$rules" iptables-save -c
legacy
filtered nft 98304 '/^table|^\tchain|^\t\ttype|drop|reject|masquerade|snat/' nft list ruleset
# What an inner qdisc drops its root counts too, and a card with 64 queues has 64 inner ones.
filtered qdisc 24576 '/^qdisc/ { root = !/ parent |^qdisc noqueue / } root && /^(qdisc| Sent)/' tc -s qdisc show
part sysctls 8192 sysctls
file udp 32768 /proc/net/udp
file udp6 32768 /proc/net/udp6
part neighbours 16384 neighbours
part nicstats 16384 nicstats
[ -z "$processes" ] || part cpu 8192 cpu
if [ "$mode" = full ]; then
  part links 49152 ip -o -d link show
  part features 32768 features
  part routes 4096 routes
  part entries 131072 entries
  part log 16384 kernel_log
fi
echo "#$N done"
