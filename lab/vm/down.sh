#!/bin/sh
# Removes the lab, also after a crash: the guest by its process id, processes in the two namespaces, the namespaces.
set -eu
. "$UNDROP_LAB_HOME/lib.sh"
if pid=$(machine); then
  # Its port and its devices are free only when it is gone.
  gone() { ! alive "$pid"; }
  kill -9 "$pid"
  until_ok 5 gone
fi
for ns in "$P-vc" "$P-vs"; do
  [ -e "/run/netns/$ns" ] || continue
  for pid in $(ip netns pids "$ns" 2>/dev/null); do kill -9 "$pid" 2>/dev/null || true; done
  ip netns del "$ns"
done
rm -rf "$STATE"
