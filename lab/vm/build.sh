#!/bin/sh
# Builds the guest, a Debian kernel and a root file system of Debian packages, into a cache outside the checkout and
# prints its folder: build.sh. Apt works here with lists and a status of its own; the host's packages are not touched.
set -eu
PACKAGES='linux-image-cloud-amd64 openssh-server python3-minimal libpython3-stdlib iproute2 ethtool conntrack iptables
  nftables procps kmod mount util-linux coreutils dash grep sed mawk findutils cpio'
# Packages that others ask for and that a guest of one purpose never runs.
UNUSED='adduser|debconf|passwd|ucf|initramfs-tools.*|klibc-utils|libklibc|linux-base|udev|.*perl.*|usrmerge|libgdbm.*|
  libdb5.3|openssh-sftp-server|media-types|netbase|tzdata|dpkg|tar|systemd|runit-helper|lsb-base|sysvinit-utils|
  init-system-helpers|base-files|libsemanage.*|libsepol2|libpam-runtime|libpam-modules.*|util-linux-extra|libsqlite3-0'
# With everything that they depend on; the rest of the kernel's modules is left out.
MODULES='virtio_pci virtio_net nf_conntrack nf_conntrack_netlink nf_tables nft_compat nft_ct nft_chain_nat nft_limit
  iptable_raw iptable_filter iptable_nat xt_conntrack xt_CT xt_MASQUERADE xt_comment xt_statistic xt_mark xt_limit
  sch_fq_codel sch_tbf sch_netem veth dummy ifb vxlan bridge br_netfilter'

here=$(cd "$(dirname "$0")" && pwd)
digest=$(cat "$here/build.sh" "$here/init" | sha256sum | cut -c1-12)
cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/undrop/vm-$digest
tell() { echo "vm lab: $*" >&2; }

[ ! -e "$cache/guest.cpio" ] || { echo "$cache"; exit 0; }
mkdir -p "${cache%/*}"
# Two labs that start together build once; a build that was broken off begins anew.
exec 9>"$cache.lock"
flock 9
[ ! -e "$cache/guest.cpio" ] || { echo "$cache"; exit 0; }
rm -rf "$cache"
work=$cache/work
root=$work/root
mkdir -p "$work/lists/partial" "$work/archives/partial" "$root"
: >"$work/status"

own() {
  tool=$1
  shift
  nice -n 10 "$tool" -qq -o Dir::State::status="$work/status" -o Dir::State::lists="$work/lists" \
    -o Dir::Cache="$work" -o Dir::Cache::archives="$work/archives" -o APT::Architecture=amd64 \
    -o APT::Architectures::=amd64 -o APT::Install-Recommends=false -o APT::Sandbox::User=root \
    -o Acquire::Languages=none -o Acquire::Retries=3 "$@"
}

tell "1/4 reading the package lists of this machine's own sources"
own apt-get update >&2
own apt-cache show linux-image-cloud-amd64 >/dev/null 2>&1 ||
  { tell 'the guest is made of Debian packages, and the apt sources of this machine have no Debian kernel'; exit 1; }
# shellcheck disable=SC2086 # a list of words
wanted=$(own apt-get -s install $PACKAGES |
  awk -v unused="^($(echo "$UNUSED" | tr -d ' \n'))\$" '$1 == "Inst" && $2 !~ unused { print $2 }')
tell "2/4 downloading $(echo "$wanted" | wc -l) packages"
# shellcheck disable=SC2086 # a list of words
(cd "$work/archives" && own apt-get download $wanted >&2)

tell '3/4 unpacking'
for package in "$work"/archives/*.deb; do nice -n 10 dpkg-deb -x "$package" "$root"; done
mv "$root"/boot/vmlinuz-* "$cache/vmlinuz"
kernel=$(ls "$root/lib/modules")
mkdir -p "$work/modules/lib/modules"
mv "$root/lib/modules/$kernel" "$work/all"
mkdir -p "$root/lib/modules" "$root/all/lib/modules"
mv "$work/all" "$root/all/lib/modules/$kernel"
chroot "$root" /sbin/depmod -b /all "$kernel"
for module in $MODULES; do
  # A module that is built into this kernel shows none.
  chroot "$root" /sbin/modprobe -d /all -S "$kernel" --show-depends "$module" 2>/dev/null | awk '$1 == "insmod" { print $2 }'
done | sort -u | while read -r file; do
  mkdir -p "$root$(dirname "${file#/all}")"
  mv "$root$file" "$root${file#/all}"
done
mv "$root/all/lib/modules/$kernel"/modules.builtin* "$root/all/lib/modules/$kernel/modules.order" "$root/lib/modules/$kernel"
rm -rf "$root/all"
chroot "$root" /sbin/depmod "$kernel"

tell '4/4 making the root file system'
rm -rf "${root:?}/boot" "$root"/usr/share/doc "$root"/usr/share/man "$root"/usr/share/locale "$root"/usr/share/info \
  "$root"/usr/share/bash-completion "$root"/usr/share/lintian "$root"/usr/share/bug "$root"/usr/share/zoneinfo \
  "$root"/usr/lib/x86_64-linux-gnu/gconv "$root"/usr/lib/python3.*/test "$root"/usr/lib/python3.*/pydoc_data \
  "$root"/usr/lib/python3.*/lib2to3 "$root"/usr/lib/python3.*/distutils "$root"/lib/systemd "$root"/lib/udev
# No maintainer script has run: what those would have linked and written.
for name in iptables iptables-save iptables-restore ip6tables ip6tables-save; do ln -s xtables-nft-multi "$root/usr/sbin/$name"; done
ln -s mawk "$root/usr/bin/awk"
[ -e "$root/bin/sh" ] || ln -s dash "$root/bin/sh"
for name in root proc sys dev tmp run var/empty etc/ssh; do mkdir -p "$root/$name"; done
cat >"$root/etc/passwd" <<'END'
root:*:0:0:root:/root:/bin/sh
sshd:*:100:65534::/run/sshd:/usr/sbin/nologin
END
cat >"$root/etc/group" <<'END'
root:x:0:
tty:x:5:
nogroup:x:65534:
END
cat >"$root/etc/ssh/sshd_config" <<'END'
HostKey /run/sshd/key
AuthorizedKeysFile /run/sshd/authorized_keys
PasswordAuthentication no
PermitRootLogin prohibit-password
UsePAM no
UseDNS no
MaxSessions 64
END
install -m 755 "$here/init" "$root/init"
# What undrop's prober imports is compiled here: it saves each of them a second there.
chroot "$root" python3 -c 'import errno, json, os, resource, select, signal, socket, struct, sys, threading, time'
chroot "$root" sh -c 'find . -xdev | cpio --quiet -o -H newc' >"$work/guest.cpio"
mv "$work/guest.cpio" "$cache/guest.cpio"
rm -rf "$work"
tell "built $(du -h "$cache/guest.cpio" | cut -f1) in $cache"
echo "$cache"
