#!/bin/sh
# Builds helm from its Go module into a cache outside the checkout and prints its path: build.sh. Once, in some minutes.
set -eu
WHO=helm
PACKAGES=1150
NEEDED_GIB=3
FLAGS='-s -w'

here=$(cd "$(dirname "$0")" && pwd)
LAB=$here/../../lab
. "$LAB/go-build.sh"
digest=$({ cat "$here/go.mod" "$here/go.sum"; echo "$FLAGS"; } | sha256sum | cut -c1-12)
cached "helm-$digest" helm

version=$(awk '$1 == "helm.sh/helm/v4" { print $2 }' "$here/go.mod")
tell "building $version from its Go module, once (3 to 6 minutes)"
cd "$here"
build compiled "$FLAGS" -p 2 -o "$work/helm" helm.sh/helm/v4/cmd/helm
