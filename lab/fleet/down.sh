#!/bin/sh
# Removes the lab, also after a crash: processes in its namespaces first, then the namespaces.
set -eu
. "$UNDROP_LAB_HOME/lib.sh"
for f in /run/netns/"$P"-*; do
  [ -e "$f" ] || continue
  ns=${f##*/}
  for pid in $(ip netns pids "$ns" 2>/dev/null); do kill -9 "$pid" 2>/dev/null || true; done
  ip netns del "$ns"
done
rm -rf "$STATE"
