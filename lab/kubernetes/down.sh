#!/bin/sh
# Removes the lab, also after a crash: its processes by their cgroup, then namespaces, cgroups and files. What was built stays.
set -eu
. "$UNDROP_LAB_HOME/lib.sh"
processes() { find "$CGROUPS/pids/$P" -name cgroup.procs -exec cat {} + 2>/dev/null; }
# What is killed may just have started another.
tries=100
while pids=$(processes) && [ -n "$pids" ]; do
  # shellcheck disable=SC2086 # a list of words
  kill -9 $pids 2>/dev/null || true
  tries=$((tries - 1))
  # shellcheck disable=SC2086
  [ $tries -gt 0 ] || { echo "lab: these processes do not end:" $pids >&2; exit 1; }
  sleep 0.05
done
for name in cp n1 n2 sw; do
  [ -e "/run/netns/$P-$name" ] || continue
  # Such as were started from outside: only processes whose network namespace is ours.
  for pid in $(ip netns pids "$P-$name" 2>/dev/null); do kill -9 "$pid" 2>/dev/null || true; done
  ip netns del "$P-$name"
done
for cgroup in "$CGROUPS"/*/"$P"; do
  [ ! -d "$cgroup" ] || find "$cgroup" -depth -type d -exec rmdir {} +
done
# Machines' mounts are in namespaces of theirs, and ended with them, as did their disks.
rm -rf --one-file-system "$STATE"
