#!/bin/sh
# Runs a program of Debian's Prometheus packages as root: run.sh prometheus-alertmanager|prometheus-node-exporter|prometheus|promtool|amtool WORDS
# Alertmanager reads templates at a fixed path below /usr/share: the program gets a mount namespace that has them there.
# It keeps the process id of this script, and is killed with whoever started it: nothing is left after a crash.
set -eu
unpacked=$(sh "$(dirname "$0")/build.sh")
program=$1
shift
# shellcheck disable=SC2016 # of the inner shell
exec setpriv --pdeathsig KILL unshare -m --propagation private sh -c '
  mount -t overlay overlay -o "lowerdir=$1/usr/share:/usr/share" /usr/share
  program=$1/usr/bin/$2
  shift 2
  exec "$program" "$@"' run "$unpacked" "$program" "$@"
