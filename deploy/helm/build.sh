#!/bin/sh
# Builds helm from its Go module into a cache outside the checkout and prints its path: build.sh. Once, in some minutes.
set -eu
# For who waits: with an empty build cache.
PACKAGES=900
NEEDED_GIB=3
FLAGS='-s -w'

here=$(cd "$(dirname "$0")" && pwd)
digest=$({ cat "$here/go.mod" "$here/go.sum"; echo "$FLAGS"; } | sha256sum | cut -c1-12)
cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/undrop/helm-$digest
tell() { echo "helm: $*" >&2; }

[ ! -e "$cache" ] || { echo "$cache/helm"; exit 0; }
mkdir -p "${cache%/*}"
# Two that start together build once; a build that was broken off begins anew.
exec 9>"$cache.lock"
flock 9
[ ! -e "$cache" ] || { echo "$cache/helm"; exit 0; }
command -v go >/dev/null || { tell 'there is no Go on PATH: helm is built from its module with Go 1.26 or newer'; exit 1; }
free=$(($(df -Pk "${cache%/*}" | awk 'NR == 2 { print $4 }') / 1048576))
[ "$free" -ge $NEEDED_GIB ] ||
  { tell "building needs $NEEDED_GIB GiB, and ${cache%/*} has $free GiB free; make room or set XDG_CACHE_HOME"; exit 1; }

work=$cache.new
rm -rf "$work"
mkdir -p "$work"
version=$(awk '$1 == "helm.sh/helm/v4" { print $2 }' "$here/go.mod")
tell "building $version from its Go module, once (3 to 6 minutes)"
cd "$here"
{ CGO_ENABLED=0 nice -n 10 go build -v -p 2 -trimpath -ldflags "$FLAGS" -o "$work/helm" helm.sh/helm/v4/cmd/helm 2>&1 || echo FAILED; } |
  tee "$cache.log" | awk -v all=$PACKAGES '!/^go: / && ++n % 100 == 0 {
    print "helm: building: " n " of about " all " packages" >"/dev/stderr" }'
if grep -qx FAILED "$cache.log"; then
  tell 'go build failed:'
  tail -n 5 "$cache.log" >&2
  exit 1
fi
rm "$cache.log"
mv "$work" "$cache"
tell "built $(du -sh "$cache" | cut -f1) in $cache"
echo "$cache/helm"
