#!/bin/sh
# Makes the worker's image without a registry or a container runtime: assemble.sh worker OUT.tar. An OCI layout, for
# `ctr images import`, `podman load` or `skopeo copy`; its name is localhost/undrop/worker:dev. The lab makes the agents'
# image the same way (lab/kubernetes/images.sh), and its words are used here.
set -eu
[ "$#" -eq 2 ] && [ "$1" = worker ] || { echo 'use: assemble.sh worker OUT.tar' >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
repo=$(cd "$here/../.." && pwd)
lab=$repo/lab/kubernetes
out=$(cd "$(dirname "$2")" && pwd)/$(basename "$2")
tell() { echo "image: $*" >&2; }
node=$repo/node_modules/node/bin/node
[ -x "$node" ] || { tell "the image gets this checkout's Node: run npm ci first"; exit 1; }

work=$(mktemp -d "${TMPDIR:-/tmp}/undrop-image-XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
# The lab's recipe reads the lists beside it; with another list it makes another root, in a cache of its own.
mkdir "$work/recipe"
ln -s "$lab/images.sh" "$work/recipe/images.sh"
ln -s "$here/worker-packages" "$work/recipe/agent-packages"
# The recipe's other image is made of it.
echo busybox-static >"$work/recipe/node-packages"
tell '1/3 a root of Debian packages'
base=$(sh "$work/recipe/images.sh" 2>"$work/log") || { cat "$work/log" >&2; exit 1; }

tell '2/3 undrop and what it depends on'
root=$work/root
cp -a "$base/agent" "$root"
sh "$here/stage.sh" "$node" "$root/opt/undrop"
ln -s /opt/undrop/undrop "$root/usr/bin/undrop"
# What the maintainer script of ca-certificates would have written.
mkdir -p "$root/etc/ssl/certs"
cat "$root"/usr/share/ca-certificates/mozilla/*.crt >"$root/etc/ssl/certs/ca-certificates.crt"
echo 'undrop:x:65532:65532:undrop:/var/lib/undrop:/bin/false' >>"$root/etc/passwd"
echo 'undrop:x:65532:' >>"$root/etc/group"
# Where it will run from, since paths stand in the bundle. The compiler looks into /proc for the kind of C library.
# shellcheck disable=SC2016 # the inner shell's own
unshare --mount sh -c 'mount -t proc proc "$0/proc" && exec chroot "$0" env -i PATH=/usr/bin:/bin sh /opt/undrop/bundle.sh' "$root" >&2

tell '3/3 packing'
# The lab's packer, taken from its script: image NAME ROOT ENTRYPOINT-AS-JSON, which writes $work/NAME.tar.
pack=$(sed -n '/^image() {/,/^}/p' "$lab/images.sh")
[ -n "$pack" ] || { tell "there is no image() in lab/kubernetes/images.sh any more: take the packer from where it is now"; exit 1; }
# shellcheck disable=SC2034 # the packer's
ARCH=$(dpkg --print-architecture)
eval "$pack"
image worker "$root" '["/usr/bin/undrop"],"User":"65532:65532"'
mv "$work/worker.tar" "$out"
tell "made $out ($(du -h "$out" | cut -f1)), localhost/undrop/worker:dev"
