#!/bin/sh
# Unpacks Debian's PostgreSQL and its libraries into a cache outside the checkout and prints its folder: build.sh.
# Nothing is installed and no service starts; run.sh runs what is in it.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
digest=$({ cat "$here/build.sh"; dpkg --print-architecture; cat /etc/debian_version; } | sha256sum | cut -c1-12)
cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/undrop/postgres-$digest
tell() { echo "postgres: $*" >&2; }

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

# Words of `apt-cache depends`: the packages that these packages need.
needs() { apt-cache depends --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances "$@"; }
packages() {
  server=$(needs postgresql | sed -n 's/^ *Depends: \(postgresql-[0-9]*\)$/\1/p')
  [ -n "$server" ] || return 1
  # Every Debian has the C library; the compiler of queries is 100 MB and only for those that run for seconds.
  libraries() { grep -E '^ *(Depends: )?lib' | sed 's/.* //' | grep -vE '^lib(c6|gcc|stdc|crypt1|llvm|elogind|debian)' | sort -u; }
  direct=$(needs "$server" | libraries)
  # shellcheck disable=SC2086 # a list of words
  echo "$server" $({ echo "$direct"; needs --recurse $direct | grep -E '^lib' | libraries; } | sort -u)
}
fetch() {
  names=$(packages) || return 1
  tell "downloading $names"
  # shellcheck disable=SC2086 # a list of words
  apt-get -qq -o APT::Sandbox::User=root download $names >&2
}
# Package lists may be missing or old; they are only read when they have to be.
fetch || { apt-get -qq update >&2; rm -f ./*.deb; fetch; }
for package in *.deb; do dpkg -x "$package" . && rm "$package"; done
mv "$work" "$cache"
echo "$cache"
