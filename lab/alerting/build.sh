#!/bin/sh
# Unpacks Debian's Prometheus, Alertmanager and node exporter into a cache outside the checkout and prints its folder: build.sh.
# Nothing is installed and no service starts; run.sh runs what is in it.
set -eu
PACKAGES='prometheus prometheus-alertmanager prometheus-node-exporter'

here=$(cd "$(dirname "$0")" && pwd)
digest=$({ cat "$here/build.sh"; dpkg --print-architecture; cat /etc/debian_version; } | sha256sum | cut -c1-12)
cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/undrop/alerting-$digest
tell() { echo "alerting: $*" >&2; }

[ ! -e "$cache" ] || { echo "$cache"; exit 0; }
mkdir -p "${cache%/*}"
# Two that start together unpack once; what was broken off begins anew.
exec 9>"$cache.lock"
flock 9
[ ! -e "$cache" ] || { echo "$cache"; exit 0; }
work=$cache.new
rm -rf "$work"
mkdir -p "$work"
cd "$work"
tell "downloading $PACKAGES"
# shellcheck disable=SC2086 # a list of words
apt-get -qq -o APT::Sandbox::User=root download $PACKAGES >&2 || {
  # Package lists may be missing or old; they are only read when they have to be.
  apt-get -qq update >&2
  apt-get -qq -o APT::Sandbox::User=root download $PACKAGES >&2
}
for package in *.deb; do dpkg -x "$package" . && rm "$package"; done
mv "$work" "$cache"
echo "$cache"
