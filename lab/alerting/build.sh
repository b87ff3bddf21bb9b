#!/bin/sh
# Unpacks Debian's Prometheus, Alertmanager and node exporter into a cache outside the checkout and prints its folder: build.sh.
# run.sh runs what is in it.
set -eu
WHO=alerting
HERE=$(cd "$(dirname "$0")" && pwd)
LAB=$HERE/..
. "$LAB/debian.sh"
unpacked echo prometheus prometheus-alertmanager prometheus-node-exporter
