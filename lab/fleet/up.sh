#!/bin/sh
# Twenty nodes n1 to n20 in three zones, each with a card of its own, on one switch with the nodes `far` and `far2`.
# Nothing is connected to the real network. Started twice it is built anew.
set -eu
. "$UNDROP_LAB_HOME/lib.sh"
sh "$UNDROP_LAB_HOME/down.sh"
mkdir -p "$STATE"

add() { # add NAME ADDRESS: a namespace whose eth0 ends in the switch's namespace as left of that name
  ip netns add "$P-$1"
  ip -n "$P-$1" link set lo up
  ip -n "$P-w" link add "left$3" type veth peer name eth0 netns "$P-$1"
  ip -n "$P-w" link set "left$3" master br0 up
  ip -n "$P-$1" addr add "$2/16" dev eth0
  ip -n "$P-$1" link set eth0 up
}

ip netns add "$P-w"
ip -n "$P-w" link add br0 type bridge
ip -n "$P-w" link set br0 up
add far 172.31.1.1 far
add far2 172.31.1.2 far2
for i in $(seq "$NODES"); do
  add "n$i" "172.31.0.$i" "$i"
  # What a broken card's wire leads to.
  ip -n "$P-w" link add "right$i" type veth peer name "port$i"
  ip -n "$P-w" link set "port$i" master br0 up
  ip -n "$P-w" link set "right$i" up
done
