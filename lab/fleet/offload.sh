#!/bin/sh
# The file exists as long as this node's card has its checksum offload off. offload.sh FILE
while sleep 0.1; do
  if ethtool -k eth0 | grep -q 'tx-checksum-ip-generic: off'; then : >"$1"; else rm -f "$1"; fi
done
