#!/bin/sh
# The start of a machine, in mount, UTS, IPC, PID and network namespaces of its own: machine.sh NAME BINARIES IMAGES.
# Makes its root file system, moves into it, and becomes its first process. So what looks at the machine through its
# process 1, or through a hostPath volume, sees this machine only.
set -eu
. "$UNDROP_LAB_HOME/lib.sh"
name=$1 binaries=$2 images=$3
# shellcheck disable=SC2153 # of lib.sh
state=$STATE/$name
disk=$state/disk
root=$disk/root
# /proc is still the host's, which knows this shell by the number that is asked for from there.
read -r pid _ </proc/self/stat

# In memory: it is gone with the machine, and neither a start nor an end waits for a busy disk.
mount -t tmpfs -o size=1g,mode=755 tmpfs "$disk"
mkdir "$disk/upper" "$disk/work" "$root" "$disk/lib"
mount -t overlay overlay -o "lowerdir=$images/node:$images/agent,upperdir=$disk/upper,workdir=$disk/work" "$root"
cd "$root"
mkdir -p opt/kubernetes opt/images opt/undrop-lab etc/undrop-lab
cp "$HERE/init.sh" "$HERE/fill.sh" "$HERE/gate.py" "$HERE/../../cli/notrack-management.nft" opt/undrop-lab/
hostname "$name"
echo "$name" >etc/hostname
tr -d - </proc/sys/kernel/random/uuid >etc/machine-id
mount -t proc proc proc
mount -t sysfs sysfs sys
mount --rbind "$CGROUPS" "sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
cp -a /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty /dev/kmsg dev/
mkdir dev/pts dev/shm dev/mqueue
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
# Not on the overlay: containerd's own overlays cannot lie on one.
mount --bind "$disk/lib" var/lib
# Logs are worth reading when a machine has died.
mount --bind "$state/log" var/log
mount --bind "$state/etc" etc/undrop-lab
mkdir -p etc/cni/net.d
mount --bind "$state/etc/cni" etc/cni/net.d
mount --bind "$binaries" opt/kubernetes
mount --bind "$images" opt/images
# The kubelet sets these, and they are the whole kernel's, so the real machine's: it gets files instead.
mkdir run/sysctl
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
  kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
  file=run/sysctl/$(echo "${setting%=*}" | tr / .)
  echo "${setting#*=}" >"$file"
  mount --bind "$file" "proc/sys/${setting%=*}"
done
pivot_root . mnt
# The host's file system goes out of sight; the id is written to it before.
echo "$pid" >"/mnt$STATE/$name.pid"
umount -l /mnt
mount --make-rshared /
exec env -i PATH=/opt/kubernetes:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root UNDROP_MGMT_NOTRACK="${UNDROP_MGMT_NOTRACK:-}" \
  tini-static -s -- sh /opt/undrop-lab/init.sh "$name"
