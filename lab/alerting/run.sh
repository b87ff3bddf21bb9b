#!/bin/sh
# Runs a program of Debian's Prometheus and Alertmanager as root: run.sh prometheus-alertmanager|prometheus|promtool|amtool WORDS
# Alertmanager reads templates at a fixed path below /usr/share: the program gets a mount namespace that has them there.
set -eu
unpacked=$(sh "$(dirname "$0")/build.sh")
program=$1
shift
# shellcheck disable=SC2016 # of the inner shell
exec unshare -m --propagation private sh -c '
  mount -t overlay overlay -o "lowerdir=$1/usr/share:/usr/share" /usr/share
  program=$1/usr/bin/$2
  shift 2
  exec "$program" "$@"' run "$unpacked" "$program" "$@"
