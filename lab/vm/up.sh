#!/bin/sh
# Two namespaces and, between them, a guest with a kernel of its own, whose global settings can be broken:
#
#   vc (client) ─ eth0 ══ tap ══ eth0 ┐ guest (router) ┌ eth1 ══ tap ══ eth0 ─ vs (server)
#                                     └ eth2 ── QEMU's user network: only ssh, from loopback
#
# Nothing is connected to the real network. Started twice it is built anew.
set -eu
. "$UNDROP_LAB_HOME/lib.sh"
built=$(sh "$UNDROP_LAB_HOME/build.sh")
sh "$UNDROP_LAB_HOME/down.sh"
mkdir -p "$STATE"
chmod 700 "$STATE"
ssh-keygen -q -t ed25519 -N '' -C '' -f "$STATE/id"

# Devices of a name that no other lab's prefix has, in the 15 letters that Linux allows; they leave this namespace below.
tag=$(echo "$P" | cksum | cut -d' ' -f1)
# shellcheck disable=SC2046 # the words of the public key
set -- $(cat "$STATE/id.pub")
# What costs an emulated processor most and protects nothing here.
boot='mitigations=off init_on_alloc=0 audit=0 lsm=capability tsc=reliable nokaslr'
echo "vm lab: starting the guest" >&2
# `setsid` so that no terminal's signal reaches it; it goes on after this script and ends by `down`. Without a bound the
# cache of translated code alone grows beyond a gigabyte.
setsid qemu-system-x86_64 -accel tcg,thread=multi,tb-size=128 -cpu max -smp 2 -m 320 -nodefaults -no-user-config -display none \
  -no-reboot -kernel "$built/vmlinuz" -initrd "$built/guest.cpio" -serial "file:$STATE/console.log" \
  -append "console=ttyS0 quiet panic=-1 $boot undrop.key=$2" \
  -netdev "tap,id=n0,ifname=u${tag}c,script=no,downscript=no" -device virtio-net-pci,netdev=n0,mac=52:54:00:1f:01:fe \
  -netdev "tap,id=n1,ifname=u${tag}s,script=no,downscript=no" -device "virtio-net-pci,netdev=n1,mac=$SERVER_SIDE" \
  -netdev "user,id=n2,restrict=on,net=172.31.9.0/24,hostfwd=tcp:127.0.0.1:$SSH_PORT-172.31.9.15:22" \
  -device virtio-net-pci,netdev=n2 </dev/null >"$STATE/qemu.log" 2>&1 &
qemu=$!
echo $qemu >"$STATE/qemu.pid"

# The end of a tap in a namespace: its queue holds a burst that a guest without KVM takes in slowly.
end() { # NAMESPACE DEVICE ADDRESS ROUTER
  ip netns add "$P-$1"
  ip link set "$2" netns "$P-$1" name eth0
  ip -n "$P-$1" link set lo up
  ip -n "$P-$1" link set eth0 txqueuelen 10000 up
  ip -n "$P-$1" addr add "$3/24" dev eth0
  ip -n "$P-$1" route add default via "$4"
}
fail() {
  tail -n 5 "$STATE/qemu.log" "$STATE/console.log" >&2 || true
  sh "$UNDROP_LAB_HOME/down.sh"
  exit 1
}
started() { ip link show "u${tag}s" || ! alive $qemu; }
{ until_ok 10 started && alive $qemu; } || fail
end vc "u${tag}c" 172.31.1.1 172.31.1.254
end vs "u${tag}s" 172.31.2.1 172.31.2.254

ready() { grep -q '^READY' "$STATE/console.log" || ! alive $qemu; }
{ until_ok 90 ready && alive $qemu; } || fail
sed -n "s/^HOSTKEY /[127.0.0.1]:$SSH_PORT /p" "$STATE/console.log" | tr -d '\r' >"$STATE/known_hosts"
guest true
spawn app vs python3 "$UNDROP_LAB_HOME/../netns/echo.py" 9000
until_ok 5 on vc python3 "$UNDROP_LAB_HOME/../netns/ask.py" 172.31.2.1 9000
