#!/bin/sh
# Two hosts in two subnets, a router between them, pods behind a VXLAN overlay, a Service with DNAT like kube-proxy's.
#
#   p1, p3 ─ cni0 ┐                                             ┌ cni0 ─ p2
#              h1 ┴ eth0 ── w (a wire nobody can log in to) ── r ── eth0 ┴ h2
#
# Nothing is connected to the real network. Started twice it is built anew.
set -eu
. "$UNDROP_LAB_HOME/lib.sh"
sh "$UNDROP_LAB_HOME/down.sh"
mkdir -p "$STATE"

for n in w r h1 h2 p1 p2 p3; do
  ip netns add "$P-$n"
  ip -n "$P-$n" link set lo up
done

# The wire: a bridge between h1 and the router. Faults of the underlay happen here, unseen by any node.
ip -n "$P-w" link add br0 type bridge
ip -n "$P-w" link set br0 up
ip -n "$P-w" link add left type veth peer name eth0 netns "$P-h1"
ip -n "$P-w" link add right type veth peer name eth1 netns "$P-r"
for d in left right; do ip -n "$P-w" link set $d master br0 up; done
ip -n "$P-r" link add eth2 type veth peer name eth0 netns "$P-h2"

ip -n "$P-r" addr add 172.30.1.254/24 dev eth1
ip -n "$P-r" addr add 172.30.2.254/24 dev eth2
for d in eth1 eth2; do ip -n "$P-r" link set $d up; done

for i in 1 2; do
  h=$P-h$i
  j=$((3 - i))
  ip -n "$h" addr add 172.30.$i.1/24 dev eth0
  ip -n "$h" link set eth0 up
  ip -n "$h" route add default via 172.30.$i.254
  ip -n "$h" link add cni0 type bridge
  ip -n "$h" addr add 10.244.$i.1/24 dev cni0
  ip -n "$h" link set cni0 up
  ip -n "$h" link add flannel.1 address 0a:00:00:00:00:0$i mtu 1450 type vxlan id 1 dev eth0 dstport 8472 \
    local 172.30.$i.1 nolearning noudpcsum
  ip -n "$h" addr add 10.244.$i.0/32 dev flannel.1
  ip -n "$h" link set flannel.1 up
  ip -n "$h" neigh add 10.244.$j.0 lladdr 0a:00:00:00:00:0$j dev flannel.1 nud permanent
  nsenter --net="/run/netns/$h" bridge fdb append 0a:00:00:00:00:0$j dev flannel.1 dst 172.30.$j.1
  ip -n "$h" route add 10.244.$j.0/24 via 10.244.$j.0 dev flannel.1 onlink
  # kube-proxy has this rule too; besides, a namespace tracks connections only once a rule asks for it.
  on h$i iptables -A FORWARD -m conntrack --ctstate INVALID -j DROP
  on h$i iptables -t nat -A PREROUTING -p udp -d 10.96.0.10 --dport 9000 -j DNAT --to-destination 10.244.2.2:9000
  on h$i iptables -t nat -A POSTROUTING -s 10.244.$i.0/24 ! -d 10.244.0.0/16 -j MASQUERADE --random-fully
done

pod() { # pod NAME HOST ADDRESS
  ip -n "$P-$2" link add "v$1" type veth peer name eth0 netns "$P-$1"
  ip -n "$P-$2" link set "v$1" mtu 1450 master cni0 up
  ip -n "$P-$1" addr add "$3/24" dev eth0
  ip -n "$P-$1" link set eth0 mtu 1450 up
  ip -n "$P-$1" route add default via "${3%.*}.1"
}
pod p1 h1 10.244.1.2
pod p3 h1 10.244.1.3
pod p2 h2 10.244.2.2

for n in r h1 h2; do
  on $n sysctl -qw net.ipv4.ip_forward=1
done
spawn app p2 python3 "$UNDROP_LAB_HOME/echo.py" 9000
until_ok 15 on p1 python3 "$UNDROP_LAB_HOME/ask.py" 10.244.2.2 9000
until_ok 15 on p3 python3 "$UNDROP_LAB_HOME/ask.py" 10.96.0.10 9000
