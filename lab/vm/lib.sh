# shellcheck shell=sh
# Words for the VM lab's scripts: `on`, `spawn`, `reap` and `until_ok` as in the namespace lab, and `guest 'command'`.
# shellcheck source=lab/netns/lib.sh
. "$UNDROP_LAB_HOME/../netns/lib.sh"
STATE=$STATE-vm
# The inventory names this port too.
SSH_PORT=27322
# The guest's link-layer address on the server's side.
# shellcheck disable=SC2034 # for those who source this
SERVER_SIDE=52:54:00:1f:02:fe

# Runs a line of shell on the guest. Each call is a new session: the guest exempts its ssh from connection tracking.
guest() {
  ssh -F none -i "$STATE/id" -p $SSH_PORT -o UserKnownHostsFile="$STATE/known_hosts" -o StrictHostKeyChecking=yes \
    -o BatchMode=yes -o IdentitiesOnly=yes -o ConnectTimeout=10 -o LogLevel=ERROR root@127.0.0.1 "$@"
}

# Waits until a line of shell succeeds there, within one session: guest_until SECONDS 'command'
guest_until() {
  guest "tries=$(($1 * 5)); until { $2; } >/dev/null 2>&1; do tries=\$((tries - 1)); [ \$tries -gt 0 ] || exit 1; sleep 0.2; done" ||
    { echo "lab: still failing on the guest: $2" >&2; return 1; }
}

# The guest's process id, if what runs under it now is really this lab's guest.
machine() {
  pid=$(cat "$STATE/qemu.pid" 2>/dev/null) || return 1
  grep -zqxF "file:$STATE/console.log" "/proc/$pid/cmdline" 2>/dev/null && echo "$pid"
}

# Whether a process still holds anything. A zombie that nobody waits for does not, once its last thread has ended.
alive() {
  case $(sed -n 's/^State:.//p' "/proc/$1/status" 2>/dev/null) in
    '') return 1 ;;
    Z*) set -- "/proc/$1/task"/* && [ $# -gt 1 ] ;;
  esac
}
