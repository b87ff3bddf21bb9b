#!/bin/sh
# Keeps this machine's connection tracking table full but for FREE entries: fill.sh FREE. `fill.sh away` takes what it made away.
#
# Entries are marked as answered: others the kernel would evict for a new flow, which then passes. And they are topped up
# all the time, since real ones expire and make room. Where nothing is to get in (FREE is 0), UDP entries and those of closed
# connections go first, and gaps are closed at once: else a new session finds one every few seconds. A flow whose next
# datagram comes later than the table is full is a new one, and dropped.
# Addresses are those that are reserved for benchmarks; nothing is sent.
set -eu
TO=198.19.0.7
cd /proc/sys/net/netfilter
if [ "$1" = away ]; then
  # Finds none when it is asked for twice.
  conntrack -D -p udp --orig-dst $TO >/dev/null 2>&1 || true
  exit 0
fi
list=/run/undrop-lab-fill
made=0
pause=0.2
if [ "$1" = 0 ]; then
  pause=0.02
  conntrack -D -p udp >/dev/null 2>&1 || true
  for state in TIME_WAIT CLOSE CLOSE_WAIT LAST_ACK FIN_WAIT; do
    conntrack -D -p tcp --state $state >/dev/null 2>&1 || true
  done
fi
while :; do
  missing=$(($(cat nf_conntrack_max) - $(cat nf_conntrack_count) - $1))
  if [ $missing -gt 0 ]; then
    mawk -v first=$made -v count=$missing -v to=$TO 'BEGIN {
      for (i = first; i < first + count; i++) {
        from = "198.18." int(i / 60000) % 250 ".7"
        port = 1024 + i % 60000
        print "-A -p udp -s " from " -d " to " --sport " port " --dport 9 -r " to " -q " from \
          " --reply-port-src 9 --reply-port-dst " port " -t 3600 -u SEEN_REPLY,ASSURED"
      }
    }' >$list
    # Where the table filled up meanwhile the rest is refused, and tried again.
    conntrack -R $list >/dev/null 2>&1 || true
    made=$((made + missing))
  fi
  sleep $pause
done
