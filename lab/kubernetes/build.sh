#!/bin/sh
# Builds Kubernetes' five programs and CoreDNS from their Go modules into a cache outside the checkout and prints its folder:
# build.sh. Once, in about five minutes. kubernetes' own go.mod replaces its staging modules, so `go install` refuses it: the
# go.mod beside this file pins them all, and its version is what the programs say of themselves. CoreDNS, of the release that
# kubeadm installs beside them, has a module of its own: it asks for other releases of the same modules.
set -eu
PROGRAMS='kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy'
# For who waits: with an empty build cache.
PACKAGES=2800
NEEDED_GIB=6

here=$(cd "$(dirname "$0")" && pwd)
version=$(awk '$1 == "k8s.io/kubernetes" && $2 ~ /^v/ { print $2; exit }
  $1 == "require" && $2 == "k8s.io/kubernetes" { print $3; exit }' "$here/go.mod")
minor=${version#v1.}
is=k8s.io/component-base/version
strip='-s -w'
flags="$strip -X $is.gitVersion=$version -X $is.gitMajor=1 -X $is.gitMinor=${minor%%.*} -X $is.gitTreeState=clean"
digest=$({ cat "$here"/go.* "$here"/coredns/*; echo "$PROGRAMS $flags"; } | sha256sum | cut -c1-12)
cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/undrop/kubernetes-$digest
tell() { echo "kubernetes lab: $*" >&2; }

[ ! -e "$cache" ] || { echo "$cache"; exit 0; }
mkdir -p "${cache%/*}"
# Two labs that start together build once; a build that was broken off begins anew.
exec 9>"$cache.lock"
flock 9
[ ! -e "$cache" ] || { echo "$cache"; exit 0; }
command -v go >/dev/null || { tell 'there is no Go on PATH: Kubernetes is built from its modules with Go 1.26 or newer'; exit 1; }
for folder in "${cache%/*}" "$(go env GOCACHE)" "$(go env GOMODCACHE)"; do
  # What does not exist yet will be made where its nearest ancestor is.
  while [ ! -d "$folder" ]; do folder=$(dirname "$folder"); done
  free=$(($(df -Pk "$folder" | awk 'NR == 2 { print $4 }') / 1048576))
  [ "$free" -ge $NEEDED_GIB ] ||
    { tell "building Kubernetes needs $NEEDED_GIB GiB, and $folder has $free GiB free; make room or set XDG_CACHE_HOME, GOCACHE and GOMODCACHE"; exit 1; }
done

work=$cache.new
rm -rf "$work"
mkdir -p "$work"
tell "building $version from its Go modules, once (4 to 8 minutes)"
built() { # MODULE FLAGS PACKAGE…
  cd "$1"
  flags=$2
  shift 2
  CGO_ENABLED=0 nice -n 10 go build -v -trimpath -ldflags "$flags" -o "$work/" "$@" 2>&1
}
# shellcheck disable=SC2046 # a list of words
{ { built "$here" "$flags" $(for program in $PROGRAMS; do echo "k8s.io/kubernetes/cmd/$program"; done) &&
  built "$here/coredns" "$strip" .; } || echo FAILED; } |
  tee "$cache.log" | awk -v all=$PACKAGES '!/^go: / && ++n % 100 == 0 {
    print "kubernetes lab: building Kubernetes: " n " of about " all " packages" >"/dev/stderr" }'
if grep -qx FAILED "$cache.log"; then
  tell 'go build failed:'
  tail -n 5 "$cache.log" >&2
  exit 1
fi
rm "$cache.log"
mv "$work" "$cache"
tell "built $(du -sh "$cache" | cut -f1) in $cache"
echo "$cache"
