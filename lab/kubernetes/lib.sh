# shellcheck shell=sh
# Words for the Kubernetes lab's scripts and faults. Machines are cp, n1, n2 and the switch sw; pods are those of namespace
# shop, by name.
#
#   on MACHINE command…          as root in that machine: all its namespaces and its root file system
#   onpod POD command…           the same in a pod's container, without the API server's and the kubelet's help
#   pod_on NODE APP              the name of the pod of label app=APP on that node
#   kubectl …                    as the cluster's admin
#   spawn NAME WHERE command…    on a machine or in a pod, outlives the script; `reap NAME` ends it
#   until_ok SECONDS command…    waits until it succeeds
#   answers POD [COUNT]          whether the Service answers COUNT new flows of a pod in a row (default 8)
#   proxy_mode iptables|nftables switches kube-proxy on both nodes
#   dns_ready                    waits until the cluster's DNS runs and answers the clients
#   flood POD ADDRESS PORT RATE  asks there so often a second from a pod, for two minutes or until `reap flood`
#   cpu_quota NAMESPACE LABEL NODE USEC  what a pod there may use of a CPU in each 100 ms; -1: all
#   collector_up                 a Service whose application answers nothing, until `collector_down`
#   affinity_to_bad PORT         session affinity keeps the client on a bad endpoint, until `affinity_down`
#   silent ADDRESS               whether nobody answers there at port 9000 any more
#   ct_fill NODE FREE            keeps the node's connection tracking table full but for FREE entries, until `ct_unfill NODE`
#
# Everything of this lab carries the prefix $P: network namespaces, cgroups.
P=undrop-k
STATE=/run/undrop-lab/kubernetes
# shellcheck disable=SC2034 # for those who source this
HERE=${UNDROP_LAB_HOME:?set by the lab runner}
CGROUPS=/sys/fs/cgroup
# Every process of the lab that is not a pod's is in here, and pods are beside it: so `down` finds all of them.
OURS=$CGROUPS/pids/$P/lab
SERVICE=10.96.0.100

# Runs a command as one of the lab's processes. In the background `sh -c "$JOIN"` does it, so that no shell stands between.
# shellcheck disable=SC2016 # the inner shell's own
JOIN='echo $$ >"$0" && exec "$@"'
ours() { sh -c "$JOIN" "$OURS/cgroup.procs" "$@"; }

lab_process() { grep -q ":/$P/" "/proc/$1/cgroup" 2>/dev/null; }
# The first process of a machine. A dead one's number may have been given to somebody else since, even on the real machine.
machine_pid() {
  pid=$(cat "$STATE/$1.pid" 2>/dev/null || true)
  lab_process "${pid:-none}" || { echo "lab: machine $1 is not up" >&2; return 1; }
  echo "$pid"
}

on() {
  machine=$1
  shift
  if [ "$machine" = sw ]; then
    nsenter --net="/run/netns/$P-sw" -- "$@"
  else
    pid=$(machine_pid "$machine") || return 1
    nsenter -t "$pid" -m -u -i -n -p -- "$@"
  fi
}

kubectl() { ours "$STATE/kubectl" --kubeconfig "$STATE/admin.kubeconfig" --cache-dir "$STATE/kubectl-cache" "$@"; }

# A process of the pod's first container, by its id as this machine's kernel gives it.
pod_pid() {
  container=$(kubectl -n shop get pod "$1" -o 'jsonpath={.status.containerStatuses[0].containerID}')
  container=${container##*/}
  find "$CGROUPS/pids/$P" -path "*/${container:-none}/cgroup.procs" -exec head -n 1 {} + | grep . ||
    { echo "lab: pod $1 does not run" >&2; return 1; }
}
pod_on() { kubectl -n shop get pod -l "app=$2" --field-selector "spec.nodeName=$1" -o 'jsonpath={.items[0].metadata.name}'; }
onpod() {
  pid=$(pod_pid "$1") || return 1
  shift
  nsenter -t "$pid" -m -u -i -n -p -- "$@"
}

spawn() {
  name=$1
  place=$2
  shift 2
  reap "$name"
  # Not in the PID namespace there: for that nsenter would fork, and the id below would be its own.
  case $place in
    sw) set -- nsenter --net="/run/netns/$P-sw" setsid "$@" ;;
    cp | n1 | n2)
      pid=$(machine_pid "$place") || return 1
      set -- nsenter -t "$pid" -m -u -i -n setsid "$@"
      ;;
    *)
      pid=$(pod_pid "$place") || return 1
      set -- nsenter -t "$pid" -m -u -i -n setsid "$@"
      ;;
  esac
  sh -c "$JOIN" "$OURS/cgroup.procs" "$@" </dev/null >"$STATE/$name.log" 2>&1 &
  echo $! >"$STATE/$name.pid"
  # Only then `reap` and `down` know it for the lab's.
  until lab_process $! || ! kill -0 $! 2>/dev/null; do sleep 0.01; done
}

reap() {
  [ -f "$STATE/$1.pid" ] || return 0
  pid=$(cat "$STATE/$1.pid")
  rm -f "$STATE/$1.pid"
  # A pid may have been given to somebody else since: only a process of the lab is ours to end.
  ! lab_process "$pid" || kill -9 "$pid" 2>/dev/null || true
}

# Waits until a command succeeds: until_ok SECONDS command…
until_ok() {
  end=$(($(date +%s) + $1))
  shift
  while ! "$@" >/dev/null 2>&1; do
    [ "$(date +%s)" -lt "$end" ] || { echo "lab: still failing: $*" >&2; return 1; }
    sleep 0.1
  done
}

# From a connected socket, as resolvers have: only an answer that is translated back is one. One process asks all, since
# starting Python takes longer than the answers.
answers() { onpod "$1" python3 -I -c '
import socket, sys
for _ in range(int(sys.argv[2])):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.5)
        sock.connect((sys.argv[1], 9000))
        sock.send(b"are you there?")
        sock.recv(64)' $SERVICE "${2:-8}"; }

# What a node's kube-proxy says of itself.
proxy_says() { # NODE MODE
  on "$1" python3 -I -c '
import sys, urllib.request
ask = lambda url: urllib.request.urlopen("http://127.0.0.1:" + url, timeout=1).read().decode()
sys.exit(ask("10249/proxyMode") != sys.argv[1] or not ask("10256/healthz"))' "$2"; }
proxy_mode() {
  for node in n1 n2; do
    on "$node" sh -c "sed -i 's/^mode: .*/mode: $1/' /etc/undrop-lab/kube-proxy.yaml && kill -9 \$(cat /run/kube-proxy.pid)"
  done
  proxy_config
  for node in n1 n2; do until_ok 30 proxy_says "$node" "$1"; done
  for pod in client client2; do until_ok 30 answers "$pod"; done
}
# As kubeadm keeps it: the configuration that all nodes have in common.
proxy_config() {
  on n1 grep -v '^hostnameOverride:' /etc/undrop-lab/kube-proxy.yaml >"$STATE/kube-proxy.yaml"
  kubectl -n kube-system create configmap kube-proxy --from-file=config.conf="$STATE/kube-proxy.yaml" --dry-run=client -o yaml |
    kubectl apply -f - >/dev/null
}

# As kubelets set it when a pod is resized in place; theirs do that with cgroups of version 2 only.
cpu_quota() { # NAMESPACE LABEL NODE USEC
  container=$(kubectl -n "$1" get pod -l "$2" --field-selector "spec.nodeName=$3" -o 'jsonpath={.items[0].status.containerStatuses[0].containerID}')
  file=$(find "$CGROUPS/cpu/$P/$3" -path "*/${container##*/}/cpu.cfs_quota_us" | grep .) || return 1
  echo "$4" >"$file"
}
flood() { spawn flood "$1" python3 -I -c "$(cat "$HERE/flood.py")" "$2" "$3" "$4" 120; }
dns_answers() { onpod "$1" python3 -I -c '
import socket
for _ in range(8):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.5)
        sock.connect(("10.96.0.10", 53))
        name = b"\4echo\4shop\3svc\7cluster\5local\0"
        sock.send(b"\0\7\1\0\0\1\0\0\0\0\0\0" + name + b"\0\1\0\1")
        assert sock.recv(512)[3] & 15 == 0'; }
dns_ready() {
  kubectl -n kube-system rollout status deployment/coredns --timeout=60s >/dev/null
  for pod in client client2; do until_ok 30 dns_answers "$pod"; done
}

ct_free() { # NODE: how many entries fit in
  # shellcheck disable=SC2016 # the inner shell's own
  on "$1" sh -c 'cd /proc/sys/net/netfilter; echo $(($(cat nf_conntrack_max) - $(cat nf_conntrack_count)))'
}
ct_fill() {
  spawn "fill-$1" "$1" sh /opt/undrop-lab/fill.sh "$2"
  # shellcheck disable=SC2317 # called by its name
  ct_full() { [ "$(ct_free "$1")" -le $(($2 + 4)) ]; }
  until_ok 60 ct_full "$1" "$2"
}
ct_unfill() {
  reap "fill-$1"
  on "$1" sh /opt/undrop-lab/fill.sh away
}

# Starts a client in a pod on n1 that keeps its source port, on a flow of the Service that leads to one endpoint's pod.
keep_flow() { # POD ENDPOINT
  endpoint=$(kubectl -n shop get pod "$2" -o 'jsonpath={.status.podIP}')
  port=40100
  while :; do
    port=$((port + 1))
    [ $port -lt 40160 ] || { echo "lab: no flow led to $2" >&2; return 1; }
    onpod "$1" python3 -I -c '
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.bind(("", int(sys.argv[2])))
    sock.sendto(b"first", (sys.argv[1], 9000))' $SERVICE $port
    on n1 conntrack -L -p udp --orig-dst $SERVICE --sport $port --reply-src "$endpoint" 2>/dev/null | grep -q . && break
  done
  spawn flow "$1" python3 -I -c "$(cat "$HERE/../netns/client.py")" $SERVICE 9000 $port
}
# A Service that answers nothing, at its address and at a port of each node; `collector_down` removes it.
collector_up() {
  kubectl apply -f "$HERE/collector.yaml"
  kubectl -n shop wait --for=condition=Ready --timeout=30s pod/collector
  for node in n1 n2; do
    until_ok 20 sh -c 'nsenter -t "$0" -n sh -c "iptables-save -t nat; nft list table ip kube-proxy" | grep -q "10.244.2.[0-9]*:5140"' \
      "$(machine_pid $node)"
  done
}
collector_down() { kubectl delete -f "$HERE/collector.yaml" --wait=true --grace-period=0 --force 2>/dev/null; }
# Session affinity keeps the pod client on a bad endpoint, the only one there was when it first asked; then others come. That
# one's application has the port that is named; `affinity_down` takes all of it back.
affinity_to_bad() { # PORT
  sed "s/BAD_PORT/$1/" "$HERE/bad.yaml" | kubectl apply -f -
  kubectl -n shop patch service echo -p '{"spec": {"sessionAffinity": "ClientIP", "selector": {"only": "bad"}}}'
  kubectl -n shop wait --for=condition=Ready --timeout=30s pod/bad
  until_ok 20 routed_to n1 1
  onpod client python3 -I -c 'import socket, sys; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"first", (sys.argv[1], 9000))' $SERVICE
  kubectl -n shop patch service echo -p '{"spec": {"selector": {"only": null}}}'
  until_ok 20 routed_to n1 3
}
affinity_down() {
  kubectl -n shop patch service echo -p '{"spec": {"sessionAffinity": "None", "sessionAffinityConfig": null, "selector": {"only": null}}}'
  kubectl -n shop delete pod bad --grace-period=0 --force 2>/dev/null
  for node in n1 n2; do until_ok 20 routed_to $node 2; done
  until_ok 30 answers client 16
}
# Whether a node's rules lead to so many endpoints of the Service.
routed_to() { [ "$({ on "$1" iptables-save -t nat; on "$1" nft list table ip kube-proxy 2>/dev/null; } | grep -E '^-A KUBE-SEP|dnat' |
  grep -oE '10\.244\.[0-9]+\.[0-9]+( \. |:)9000' | sed 's/ \. /:/' | sort -u | wc -l)" = "$2" ]; }
# The pod relay of namespace edge, whose UDP host port is 8053 of n2: relay [SED], by a sed program over its manifest.
relay() {
  {
    sed "${1:-}" "$HERE/relay.yaml"
    echo ---
    kubectl -n edge create configmap lab --from-file="$HERE/../netns/echo.py" --dry-run=client -o yaml
  } >"$STATE/relay.yaml"
  # The controller may make the ServiceAccount between kubectl's look and its own making.
  until_ok 10 kubectl apply -f "$STATE/relay.yaml"
  kubectl -n edge wait --for=condition=Ready pod/relay --timeout=30s >/dev/null
}
relay_address() { kubectl -n edge get pod relay -o 'jsonpath={.status.podIP}'; }
# Whether n2 tracks a flow to the host port that leads to this address.
relay_flow() { on n2 conntrack -L -p udp --orig-dst 172.30.0.12 --orig-port-dst 8053 --reply-src "$1" 2>/dev/null | grep -q .; }
relay_unrouted() { ! on n2 iptables-save -t nat | grep -q "to-destination $1:"; }
# A client, in a pod or on a machine, that keeps its source port on a flow to the host port.
keep_relay_flow() {
  spawn flow "$1" python3 -I -c "$(cat "$HERE/../netns/client.py")" 172.30.0.12 8053 40200
  until_ok 10 relay_flow "$(relay_address)"
}
relay_away() {
  reap flow
  kubectl -n edge delete pod relay --ignore-not-found --grace-period=1
  on n2 conntrack -D -p udp --orig-port-dst 8053 >/dev/null 2>&1 || true
}
# Whether a node's rules lead the Service to this port of its endpoints.
leads_to() { on "$1" iptables-save -t nat | grep -q "to-destination [0-9.]*:$2\$"; }
# Whether nobody answers there any more.
silent() { ! onpod client python3 -I -c "$(cat "$HERE/../netns/ask.py")" "$1" 9000; }
# Whether no rule of a node leads the Service anywhere.
unrouted() { ! { on "$1" iptables-save -t nat; on "$1" nft list table ip kube-proxy 2>/dev/null; } | grep -qE '(to-destination|dnat to) [0-9.]*:90'; }
proxy_mode_is() { on n1 grep -q "^mode: $1" /etc/undrop-lab/kube-proxy.yaml; }
# The application anew with another command: its pods stand in each other's way, so the old ones go first.
restarted() {
  kubectl -n shop scale deployment/echo --replicas=0
  kubectl -n shop wait --for=delete pod -l app=echo --timeout=30s
  kubectl -n shop patch deployment echo --type=json -p "[{\"op\": \"replace\", \"path\": \"/spec/template/spec/containers/0/command\", \"value\": $1}]"
  kubectl -n shop scale deployment/echo --replicas=2
  kubectl -n shop rollout status deployment/echo --timeout=30s
}
