#!/bin/sh
# Builds Kubernetes' five programs and CoreDNS from their Go modules into a cache outside the checkout and prints its folder:
# build.sh. Once, in about five minutes. kubernetes' own go.mod replaces its staging modules, so `go install` refuses it: the
# go.mod beside this file pins them all, and its version is what the programs say of themselves. CoreDNS, of the release that
# kubeadm installs beside them, has a module of its own: it asks for other releases of the same modules.
set -eu
PROGRAMS='kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy'
WHO='kubernetes lab'
PACKAGES=2800
NEEDED_GIB=6

here=$(cd "$(dirname "$0")" && pwd)
LAB=$here/..
. "$LAB/go-build.sh"
version=$(awk '$1 == "k8s.io/kubernetes" && $2 ~ /^v/ { print $2; exit }
  $1 == "require" && $2 == "k8s.io/kubernetes" { print $3; exit }' "$here/go.mod")
minor=${version#v1.}
is=k8s.io/component-base/version
strip='-s -w'
flags="$strip -X $is.gitVersion=$version -X $is.gitMajor=1 -X $is.gitMinor=${minor%%.*} -X $is.gitTreeState=clean"
digest=$({ cat "$here"/go.* "$here"/coredns/*; echo "$PROGRAMS $flags"; } | sha256sum | cut -c1-12)
cached "kubernetes-$digest"

tell "building $version from its Go modules, once (4 to 8 minutes)"
programs() {
  # shellcheck disable=SC2046 # a list of words
  cd "$here" && compiled "$flags" -o "$work/" $(for program in $PROGRAMS; do echo "k8s.io/kubernetes/cmd/$program"; done) &&
    cd coredns && compiled "$strip" -o "$work/" .
}
build programs
