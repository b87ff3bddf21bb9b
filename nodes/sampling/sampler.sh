# Reads one network namespace once and prints it in marked parts: sh -s -- NONCE full|light [ROUTE…] [@ADDRESS/PORT…] [%PROCESS…]
# POSIX sh, also busybox's. It changes nothing. Each part is bounded in bytes and time, and says how it ended:
#   #NONCE begin NAME / …lines… / #NONCE rc STATUS / #NONCE end NAME     (no rc: the part was cut at its bound)
#   #NONCE miss NAME why                                                (it could not be read at all)
# NONCE is fresh for each reading, so that nothing a node prints can pose as a part of ours.
# A diagnosis reads each place eight times, and to start a program takes a millisecond or two: one awk reads all files,
# and one bounds and filters all parts. Where a shell can do without a program or a subshell, it does.
N=$1
mode=$2
shift 2
LC_ALL=C
export LC_ALL
PATH=$PATH:/usr/sbin:/sbin:/usr/local/sbin
newline='
'

bounded=
command -v timeout >/dev/null 2>&1 && bounded='timeout 2'

# Only the lines that matter leave the node, and of each part no more bytes than it may have; its status is kept.
trimmed() {
  awk -v mark="#$N " -v mode="$mode" '
    function emit(line) {
      if (cut) return
      left -= length(line) + 1
      cut = left < 0
      print cut ? "cut" : line
    }
    index($0, mark) == 1 {
      split(substr($0, length(mark) + 1), word, " ")
      if (word[1] == "begin") {
        name = word[2]; left = word[3]; cut = late = 0
        print mark "begin " name
        next
      }
      if (word[1] == "rc") {
        for (each = 1; each <= late; each++) emit(held[each])
        if (cut) next
      }
      print
      next
    }
    cut { next }
    name == "dev" { if (!/:/) next; sub(/:/, ": "); $0 = $1 " " $13 }
    name == "iptables" || name == "legacy" { if (!/^# Gen|^\*|^:.* DROP |-j (DROP|REJECT|MASQUERADE|SNAT)/) next }
    name == "nft" { if (!/^table|^\tchain|^\t\ttype|drop|reject|masquerade|snat/) next }
    # What an inner qdisc drops its root counts too, and a card with 64 queues has 64 inner ones.
    name == "qdisc" {
      if (/^qdisc/) root = !/ parent |^qdisc noqueue /
      if (!root || !/^(qdisc| Sent)/) next
    }
    # Those that do not answer come first, and alone in a light reading: nothing else of the table can explain a loss.
    name == "neighbours" && !/FAILED|INCOMPLETE/ {
      if (mode == "full" && late < 1000) held[++late] = $0
      next
    }
    { emit($0) }'
}

part() { # NAME BYTES function
  echo "#$N begin $1 $2"
  "$3"
  echo "#$N rc $?"
  echo "#$N end $1"
}

program() { # NAME BYTES program…
  name=$1
  bytes=$2
  shift 2
  needs "$name" "$1" || return 0
  echo "#$N begin $name $bytes"
  $bounded "$@"
  echo "#$N rc $?"
  echo "#$N end $name"
}

files() { # NAME=BYTES=PATH…
  for file; do
    shift
    path=${file##*=}
    if [ -r "$path" ]; then
      set -- "$@" "$file"
    elif [ -e "$path" ]; then
      echo "#$N miss ${file%%=*} no permission for $path"
    else
      echo "#$N miss ${file%%=*} no $path in this network namespace"
    fi
  done
  $bounded awk -v mark="#$N " 'BEGIN {
    for (each = 1; each < ARGC; each++) {
      split(ARGV[each], file, "=")
      print mark "begin " file[1], file[2]
      left = file[2]
      while (left >= 0 && (status = (getline line < file[3])) > 0) {
        print line
        left -= length(line) + 1
      }
      close(file[3])
      print mark "rc " (status < 0)
      print mark "end " file[1]
    }
  }' "$@"
  # Where that was ended halfway, so was its line; the next mark has to begin one.
  echo
}

identity() {
  # What is below /proc/self belongs to who looks, and the link names the namespace.
  stat -c "uid %u${newline}netns %N" /proc/self/ns/net
  awk 'FNR == 1 { print NR == 1 ? "boot" : "kernel", $0 }' /proc/sys/kernel/random/boot_id /proc/sys/kernel/osrelease
  read -r up _ </proc/uptime
  echo "uptime $up"
  command -v python3 >/dev/null 2>&1 && printf 'python ' && command -v python3
  for tool in ip flock conntrack ethtool nft iptables-save tc systemd-run; do
    command -v $tool >/dev/null 2>&1 && echo "tool $tool"
  done
  true
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

# Real and overlay devices before the many ends of pods' veth pairs, which `devices own` leaves out; sixteen at most.
devices() {
  awk -F: -v own="$1" 'NR > 2 {
      gsub(/ /, "", $1)
      if ($1 == "lo") next
      if ($1 ~ /^(veth|cali|lxc|eni|azv|gke)/) late[++ends] = $1
      else if (count++ < 16) print $1
    }
    END { for (each = 1; !own && each <= ends && count++ < 16; each++) print late[each] }' /proc/net/dev
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
      driver=$(ethtool -i "$dev" 2>/dev/null)
      case ${driver%%"
"*} in
        "driver: "veth | *" bridge" | *" vxlan" | *" tun" | *" dummy" | *vlan* | *" bonding" | *" team" | *" geneve") continue ;;
        *VLAN* | *" openvswitch" | *" wireguard" | *" ifb") continue ;;
        "driver: "*) echo "device $dev" ;;
        *) continue ;;
      esac
      ethtool -S "$dev" 2>/dev/null |
        grep -E "drop|miss|err|fifo|no_buf|out_of_buf|allowance|discard" | head -n 80
    done; true' sh $(devices own)
}

# Tables of the old kind beside those that an iptables-save for nf_tables shows: it does not know of them.
legacy() {
  [ -r /proc/net/ip_tables_names ] && read -r _ </proc/net/ip_tables_names || return 0
  if command -v iptables-save >/dev/null 2>&1; then
    case $($bounded iptables-save --version 2>/dev/null </dev/null) in *nf_tables*) ;; *) return 0 ;; esac
  fi
  program legacy 98304 iptables-legacy-save -c
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

everything() {
  part identity 2048 identity
  files snmp=8192=/proc/net/snmp netstat=16384=/proc/net/netstat snmp6=16384=/proc/net/snmp6 \
    sockstat=2048=/proc/net/sockstat softnet=65536=/proc/net/softnet_stat \
    conntrack=98304=/proc/net/stat/nf_conntrack arp=65536=/proc/net/stat/arp_cache dev=262144=/proc/net/dev \
    udp=32768=/proc/net/udp udp6=32768=/proc/net/udp6
  program iptables 98304 iptables-save -c
  legacy
  program nft 98304 nft list ruleset
  program qdisc 24576 tc -s qdisc show
  part sysctls 8192 sysctls
  program neighbours 16384 ip -o neigh show
  part nicstats 16384 nicstats
  [ -z "$processes" ] || part cpu 8192 cpu
  if [ "$mode" = full ]; then
    program links 49152 ip -o -d link show
    part features 32768 features
    part routes 4096 routes
    part entries 131072 entries
    part log 16384 kernel_log
  fi
  # The last of what goes the whole way: where anything on it was killed, the reading is void.
  echo "#$N done"
}

everything </dev/null 2>/dev/null | trimmed
