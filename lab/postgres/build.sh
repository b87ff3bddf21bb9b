#!/bin/sh
# Unpacks Debian's PostgreSQL and its libraries into a cache outside the checkout and prints its folder: build.sh. run.sh runs
# what is in it.
set -eu
WHO=postgres
HERE=$(cd "$(dirname "$0")" && pwd)
LAB=$HERE/..
. "$LAB/debian.sh"

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
unpacked packages
