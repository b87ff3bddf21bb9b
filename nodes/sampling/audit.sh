# Reads what an audit judges of one network namespace, in marked parts as sampler.sh does: sh -c TEXT sh NONCE
# A thousand nodes are read at once, so every program that is started counts: three on a usual node, and one for the
# uplink and each tunnel where ethtool is there. The whole is bounded by whoever runs it. It changes nothing, does not
# exit, and sets all that it reads: over ssh one shell runs it again and again.
N=$1
LC_ALL=C
export LC_ALL
case :$PATH: in *:/usr/local/sbin:*) ;; *) PATH=$PATH:/usr/sbin:/sbin:/usr/local/sbin ;; esac
set -f
newline='
'
# All of it is said at once at the end: each line by itself would be a packet, and a thousand nodes are read at once.
said=
say() { said=$said$1$newline; }

# An inode below /proc/self is made when it is looked at: its time is now, and the link names the namespace.
say "#$N begin self"
say "$(stat -c '%Y %N' /proc/self/ns/net)"
read -r up _ </proc/uptime
say "uptime $up"
uplink=
[ -r /proc/net/route ] && { read -r _; read -r device to _; [ "$to" = 00000000 ] && uplink=$device; } </proc/net/route
say "uplink $uplink"
say "#$N rc 0"
say "#$N end self"

# One grep for all files, each line after its path below /proc.
cd /proc || say 'no /proc'
strict=
case $uplink in '' | *[!A-Za-z0-9._-]*) ;; *) strict=sys/net/ipv4/conf/$uplink/rp_filter ;; esac
files=$(grep -sH '' sys/kernel/random/boot_id sys/kernel/osrelease sys/kernel/arch \
  net/snmp net/netstat net/snmp6 net/sockstat net/softnet_stat net/stat/nf_conntrack net/stat/arp_cache \
  sys/net/netfilter/nf_conntrack_buckets sys/net/netfilter/nf_conntrack_udp_timeout \
  sys/net/netfilter/nf_conntrack_udp_timeout_stream \
  sys/net/ipv4/ipfrag_high_thresh sys/net/ipv4/ipfrag_time sys/net/ipv4/udp_mem sys/net/ipv4/ip_forward \
  sys/net/ipv4/neigh/default/gc_thresh3 sys/net/ipv4/conf/all/rp_filter $strict \
  sys/net/core/rmem_max sys/net/core/rmem_default sys/net/core/wmem_max sys/net/core/netdev_max_backlog \
  sys/net/core/netdev_budget sys/net/bridge/bridge-nf-call-iptables \
  sys/net/netfilter/nf_conntrack_max sys/net/netfilter/nf_conntrack_count)
say "#$N begin proc"
say "$files"
say "#$N rc 0"
say "#$N end proc"

# Ends of pods' veth pairs are left out: a node has hundreds, and none of them is its own.
tunnels=
if command -v ip >/dev/null 2>&1; then
  links=$(ip -o -d link show 2>/dev/null)
  say "#$N begin links"
  IFS=$newline
  for link in $links; do
    name=${link#*: }
    name=${name%%[:@]*}
    case $link in
      *' veth '*) [ "$name" = "$uplink" ] || continue ;;
      *' vxlan '* | *' geneve '*) tunnels="$tunnels $name" ;;
    esac
    say "$link"
  done
  unset IFS
  say "#$N rc 0"
  say "#$N end links"
else
  say "#$N miss links no program ip"
fi

if command -v ethtool >/dev/null 2>&1; then
  say "#$N begin features"
  for device in $uplink $tunnels; do
    say "device $device"
    say "$(ethtool -k "$device" 2>/dev/null)"
  done
  say "#$N rc 0"
  say "#$N end features"
else
  say "#$N miss features no program ethtool"
fi

# Whether this very session is tracked, and would have been refused by a full table. Asked only where that is near.
# The two numbers stand last: dash takes seconds to find a pattern at the beginning of a long text.
count= max=
case $files in
  *nf_conntrack_max:*nf_conntrack_count:*)
    count=${files##*nf_conntrack_count:} max=${files##*nf_conntrack_max:}
    max=${max%%"$newline"*}
    ;;
esac
case $count-$max in
  -* | *- | *[!0-9-]*) ;;
  *)
    if [ "$((count * 2))" -ge "$max" ] && [ -n "${SSH_CONNECTION-}" ] && command -v conntrack >/dev/null 2>&1; then
      # shellcheck disable=SC2086
      set -- $SSH_CONNECTION
      tracked=no
      conntrack -G -p tcp -s "$1" -d "$3" --sport "$2" --dport "$4" >/dev/null 2>&1 && tracked=yes
      say "#$N begin tracked"
      say "$tracked"
      say "#$N rc 0"
      say "#$N end tracked"
    fi
    ;;
esac
say "#$N done"
printf %s "$said"
