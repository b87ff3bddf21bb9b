# Words of the fleet lab: those of the namespace lab, under a prefix of its own, and `card`.
P=undrop-fleet
. "$UNDROP_LAB_HOME/../netns/lib.sh"
NODES=20

# The card of a node: `whole`, `broken` (does not finish checksums that are left to it) or `hurting` (finishes every other
# one, and sends nothing while its offload is off: the usual remedy makes it worse). card N KIND
card() {
  reap "wire$1"
  reap "offload$1"
  case $2 in
    whole) ip -n "$P-w" link set "left$1" master br0 ;;
    broken) wire "$1" ;;
    hurting)
      spawn "offload$1" "n$1" sh "$UNDROP_LAB_HOME/offload.sh" "$STATE/off$1"
      wire "$1" --hurting "$STATE/off$1"
      ;;
  esac
}

wire() {
  n=$1
  shift
  ip -n "$P-w" link set "left$n" nomaster
  spawn "wire$n" w python3 "$UNDROP_LAB_HOME/../netns/wire.py" "$@" "left$n" "right$n"
}
