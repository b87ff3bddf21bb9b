#!/bin/sh
# Runs Debian's PostgreSQL, as nobody, on a socket in a folder until it is killed: run.sh FOLDER, as root.
# The folder is made, with a database in it, where it is not there; `postgres://postgres@/postgres?host=FOLDER` is its URL.
# The server keeps the process id of this script, and ends with whoever started it: nothing is left after a crash.
set -eu
unpacked=$(sh "$(dirname "$0")/build.sh")
folder=$1
# It refuses to run as root, and nobody else can read root's cache: it gets a mount namespace that has it at /mnt.
# shellcheck disable=SC2016 # of the inner shell
exec setpriv --pdeathsig KILL unshare -m --propagation private sh -c '
  mount --bind "$1" /mnt
  folder=$2
  cd /
  mkdir -p "$folder"
  chown nobody "$folder"
  bin=$(echo /mnt/usr/lib/postgresql/*/bin)
  libraries=$(find /mnt/lib /mnt/usr/lib -maxdepth 2 -name "*.so.*" -printf "%h\n" | sort -u | paste -sd:)
  set -- setpriv --reuid nobody --regid nogroup --clear-groups --pdeathsig KILL env -i PATH=/usr/bin:/bin LC_ALL=C LD_LIBRARY_PATH="$libraries"
  [ -e "$folder/data/PG_VERSION" ] || "$@" "$bin/initdb" -D "$folder/data" -U postgres -A trust -E UTF8 --no-sync >&2
  exec "$@" "$bin/postgres" -D "$folder/data" -k "$folder" -c listen_addresses= -c jit=off' run "$unpacked" "$folder"
