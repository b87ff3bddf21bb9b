# Words for lab scripts: `on NS command…`, `spawn NAME NS command…`, `reap NAME`. Everything carries the prefix $P.
P=${P:-undrop}
STATE=/run/undrop-lab/$P
HERE=${UNDROP_LAB_HOME:?set by the lab runner}

# Runs a command in one of the lab's namespaces. nsenter instead of `ip netns exec`: it leaves mounts alone and is faster.
on() {
  where=$1
  shift
  nsenter --net="/run/netns/$P-$where" "$@"
}

# Starts a process in a namespace that outlives this script; `reap` or the lab's `down` ends it by its pid.
spawn() {
  name=$1
  place=$2
  shift 2
  reap "$name"
  mkdir -p "$STATE"
  nsenter --net="/run/netns/$P-$place" setsid "$@" </dev/null >"$STATE/$name.log" 2>&1 &
  echo $! >"$STATE/$name.pid"
}

reap() {
  [ -f "$STATE/$1.pid" ] || return 0
  pid=$(cat "$STATE/$1.pid")
  rm -f "$STATE/$1.pid"
  # A pid may have been given to somebody else since: only a process in one of our namespaces is ours to end.
  inside=$(readlink "/proc/$pid/ns/net" 2>/dev/null) || return 0
  for f in /run/netns/"$P"-*; do
    [ "net:[$(stat -L -c %i "$f")]" = "$inside" ] || continue
    kill -9 "$pid" 2>/dev/null || true
  done
}

# Waits until a command succeeds: until_ok SECONDS command…
until_ok() {
  tries=$(($1 * 20))
  shift
  while ! "$@" >/dev/null 2>&1; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || { echo "lab: still failing: $*" >&2; return 1; }
    sleep 0.05
  done
}

# Ends the processes in namespaces of the lab's own, and only those, then the namespaces and the lab's state: dismantle FILE…
dismantle() {
  for f in "$@"; do
    [ -e "$f" ] || continue
    for pid in $(ip netns pids "${f##*/}" 2>/dev/null); do kill -9 "$pid" 2>/dev/null || true; done
    ip netns del "${f##*/}"
  done
  rm -rf "$STATE"
}
