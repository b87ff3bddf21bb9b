#!/bin/sh
# Makes the machines' root file systems and the images of Debian packages, in a cache outside the checkout, and prints its
# folder: images.sh. Apt works here with lists and a status of its own; the host's packages are not touched.
#
#   agent/      a root of agent-packages      agent.tar  the same as image localhost/undrop/agent:dev
#   node/       what node-packages add to it  pause.tar  localhost/undrop/pause:dev
#
# A machine's root is an overlay of node over agent.
set -eu
SUITE=trixie
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
ARCH=$(dpkg --print-architecture)

here=$(cd "$(dirname "$0")" && pwd)
digest=$(cat "$here/images.sh" "$here/agent-packages" "$here/node-packages" | sha256sum | cut -c1-12)
cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/undrop/kubernetes-images-$digest
tell() { echo "kubernetes lab: $*" >&2; }

[ ! -e "$cache" ] || { echo "$cache"; exit 0; }
mkdir -p "${cache%/*}"
# Two labs that start together build once; a build that was broken off begins anew.
exec 9>"$cache.lock"
flock 9
[ ! -e "$cache" ] || { echo "$cache"; exit 0; }
[ -e $KEYRING ] || { tell "the machines are made of Debian packages; install debian-archive-keyring to check them"; exit 1; }
# A mirror that this machine knows already.
# shellcheck disable=SC2016 # apt's own
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m1 '/debian/*$') ||
  { tell 'the machines are made of Debian packages, and the apt sources of this machine name no Debian mirror'; exit 1; }
work=$cache.new
apt=$work/apt
rm -rf "$work"
mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$work/agent" "$work/node"
: >"$apt/status"
echo "deb [signed-by=$KEYRING] $mirror $SUITE main" >"$apt/sources.list"

own() {
  nice -n 10 apt-get -qq -y -o Dir::State::status="$apt/status" -o Dir::State::lists="$apt/lists" -o Dir::Cache="$apt" \
    -o Dir::Cache::archives="$apt/archives" -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null \
    -o APT::Architecture="$ARCH" -o APT::Architectures::="$ARCH" -o APT::Install-Recommends=false -o APT::Sandbox::User=root \
    -o Acquire::Languages=none -o Acquire::Retries=3 "$@"
}
words() { sed 's/#.*//' "$@"; }
# The files of packages and of all that they depend on.
files() { own --print-uris install "$@" | awk '{ print $2 }' | sort; }

tell "images 1/4: reading the package lists of $SUITE"
own update >&2
# shellcheck disable=SC2046 # lists of words
{
  files $(words "$here/agent-packages") >"$apt/agent"
  files $(words "$here/agent-packages" "$here/node-packages") >"$apt/all"
  tell "images 2/4: downloading $(wc -l <"$apt/all") packages"
  own --download-only install $(words "$here/agent-packages" "$here/node-packages") >&2
}

# No maintainer script runs: what those would have linked and written follows below.
unpack() { # ROOT < names of files
  for name in bin sbin lib lib64; do
    mkdir -p "$1/usr/$name"
    ln -s "usr/$name" "$1/$name"
  done
  while read -r file; do nice -n 10 dpkg-deb -x "$apt/archives/$file" "$1"; done
  (cd "$1/usr" && rm -rf share/doc share/man share/info share/locale share/lintian share/bug share/bash-completion share/perl* \
    share/zoneinfo lib/*/perl* lib/*/gconv lib/python3.*/pydoc_data lib/python3.*/test lib/systemd lib/udev)
}
tell 'images 3/4: unpacking'
unpack "$work/agent" <"$apt/agent"
comm -13 "$apt/agent" "$apt/all" | unpack "$work/node"
cd "$work/agent"
for name in proc sys dev run tmp root mnt etc var/lib var/log var/tmp opt; do mkdir -p "$name"; done
chmod 1777 tmp var/tmp
for tool in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
  ln -sf xtables-nft-multi usr/sbin/$tool
done
ln -sf mawk usr/bin/awk
ln -sf dash usr/bin/sh
echo '127.0.0.1 localhost' >etc/hosts
: >etc/resolv.conf
printf 'root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534::/:/bin/false\n' >etc/passwd
printf 'root:x:0:\nnogroup:x:65534:\n' >etc/group
# A start of Python takes a fifth of the time when what it imports is compiled.
chroot . python3 -m compileall -q usr/lib/python3.* >&2 || true

tell 'images 4/4: packing'
# An image as OCI describes it, of one layer: no registry and no tool of one is needed.
image() { # NAME ROOT ENTRYPOINT-AS-JSON
  oci=$work/oci
  mkdir -p "$oci/blobs/sha256"
  kind=application/vnd.oci.image
  blob() { # MEDIA-TYPE FILE [FURTHER-FIELDS]: moves the file to where its digest belongs and prints its descriptor
    sum=$(sha256sum "$2" | cut -d' ' -f1)
    printf '{"mediaType":"%s","digest":"sha256:%s","size":%d%s}' "$kind.$1" "$sum" "$(stat -c %s "$2")" "${3:-}"
    mv "$2" "$oci/blobs/sha256/$sum"
  }
  tar -C "$2" --sort=name --mtime=@0 --numeric-owner --owner=0 --group=0 -cf "$oci/layer" .
  layer=$(blob layer.v1.tar "$oci/layer")
  diff=$(echo "$layer" | grep -o 'sha256:[0-9a-f]*')
  printf '{"architecture":"%s","os":"linux","config":{"Env":["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],"Entrypoint":%s},' "$ARCH" "$3" >"$oci/new"
  printf '"rootfs":{"type":"layers","diff_ids":["%s"]}}' "$diff" >>"$oci/new"
  config=$(blob config.v1+json "$oci/new")
  printf '{"schemaVersion":2,"mediaType":"%s","config":%s,"layers":[%s]}' "$kind.manifest.v1+json" "$config" "$layer" >"$oci/new"
  ref=localhost/undrop/$1:dev
  manifest=$(blob manifest.v1+json "$oci/new" \
    ",\"annotations\":{\"io.containerd.image.name\":\"$ref\",\"org.opencontainers.image.ref.name\":\"$ref\"}")
  printf '{"schemaVersion":2,"manifests":[%s]}' "$manifest" >"$oci/index.json"
  echo '{"imageLayoutVersion":"1.0.0"}' >"$oci/oci-layout"
  tar -C "$oci" -cf "$work/$1.tar" oci-layout index.json blobs
  rm -rf "$oci"
}
image agent "$work/agent" '["/bin/sleep","infinity"]'
mkdir -p "$work/pause/bin"
cp "$work/node/usr/bin/busybox" "$work/pause/bin/"
image pause "$work/pause" '["/bin/busybox","sleep","2147483647"]'
rm -rf "$work/pause" "$apt"
mv "$work" "$cache"
tell "images made: $(du -sh "$cache" | cut -f1) in $cache"
echo "$cache"
