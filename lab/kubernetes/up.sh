#!/bin/sh
# A real Kubernetes of a control plane and two nodes. Each is a machine: network, mount, UTS, IPC and PID namespaces and a
# Debian root of its own.
#
#   client, echo ─ cni0 ┐                                           ┌ cni0 ─ echo, client2
#                    n1 ┴ eth0 ── sw (a switch nobody can log in to) ── eth0 ┴ n2
#                                  └ eth0 ─ cp (API server, etcd, scheduler, controllers)
#
# Each node has a replica of CoreDNS too. Pods talk over a VXLAN overlay, as flannel makes it. Nothing is connected to the
# real network; the API server is reached through a port of 127.0.0.1, which admin.kubeconfig names. Started twice it is
# built anew.
#
# UNDROP_PROXY_MODE=iptables|nftables; UNDROP_MGMT_NOTRACK=1 keeps the way to the nodes open when their tables are full.
set -eu
. "$UNDROP_LAB_HOME/lib.sh"
mode=${UNDROP_PROXY_MODE:-iptables}
CONTROL=172.30.0.10
tell() { echo "kubernetes lab: $*" >&2; }
BRIDGED=/proc/sys/net/bridge/bridge-nf-call-iptables
[ -d "$CGROUPS/pids" ] || { tell 'this lab needs cgroups of version 1 (or hybrid), as at /sys/fs/cgroup/pids'; exit 1; }
[ -e $BRIDGED ] || { tell 'this lab needs the kernel module br_netfilter: modprobe br_netfilter'; exit 1; }

binaries=$(sh "$HERE/build.sh")
images=$(sh "$HERE/images.sh")
helm=$(sh "$HERE/../../deploy/helm/build.sh")
sh "$HERE/down.sh"
start=$(date +%s)
took() { echo "$(($(date +%s) - start)) s"; }
mkdir -p "$STATE"
chmod 700 "$STATE"
ln -s "$images/node/usr/bin/kubectl" "$STATE/kubectl"

# A group of every kind of cgroup for each node, and one for all that is no pod.
for kind in "$CGROUPS"/*/; do
  for group in "$P" "$P/lab" "$P/n1" "$P/n2"; do
    mkdir -p "$kind$group"
    # Empty at first, and then nothing may join.
    for set in cpus mems; do
      [ ! -e "${kind}cpuset.$set" ] || cat "${kind}cpuset.$set" >"$kind$group/cpuset.$set"
    done
  done
done

address() { case $1 in cp) echo $CONTROL ;; n*) echo "172.30.0.1${1#n}" ;; esac; }

# The switch: faults of the underlay happen here, unseen by any node.
ip netns add "$P-sw"
ip -n "$P-sw" link set lo up
ip -n "$P-sw" link add br0 type bridge
ip -n "$P-sw" addr add 172.30.0.1/24 dev br0
ip -n "$P-sw" link set br0 up
for name in cp n1 n2; do
  ip netns add "$P-$name"
  ip -n "$P-$name" link set lo up
  ip -n "$P-sw" link add "$name" type veth peer name eth0 netns "$P-$name"
  ip -n "$P-sw" link set "$name" master br0 up
  ip -n "$P-$name" addr add "$(address "$name")/24" dev eth0
  ip -n "$P-$name" link set eth0 up
  # It leads nowhere: but there must be a route to a Service's address before that is translated.
  ip -n "$P-$name" route add default via 172.30.0.1
done
net() { # NAMESPACE command…
  where=$1
  shift
  nsenter --net="/run/netns/$P-$where" "$@"
}
for i in 1 2; do
  n=n$i
  j=$((3 - i))
  net $n sysctl -qw net.ipv4.ip_forward=1
  # As nodes have it: without it the answer of a pod of the same node goes over the bridge untranslated.
  # shellcheck disable=SC2016 # the inner shell's own
  net $n sh -c 'echo 1 >"$0"' $BRIDGED
  ip -n "$P-$n" link add flannel.1 address 0a:00:00:00:00:0$i mtu 1450 type vxlan id 1 dev eth0 dstport 8472 \
    local "$(address $n)" nolearning noudpcsum
  ip -n "$P-$n" addr add 10.244.$i.0/32 dev flannel.1
  ip -n "$P-$n" link set flannel.1 up
  ip -n "$P-$n" neigh add 10.244.$j.0 lladdr 0a:00:00:00:00:0$j dev flannel.1 nud permanent
  net $n bridge fdb append 0a:00:00:00:00:0$j dev flannel.1 dst "$(address n$j)"
  ip -n "$P-$n" route add 10.244.$j.0/24 via 10.244.$j.0 dev flannel.1 onlink
  # By which the API server answers pods: nothing masquerades what they send out of their own network.
  ip -n "$P-cp" route add 10.244.$i.0/24 via "$(address $n)"
done

ours sh "$HERE/pki.sh" "$STATE/pki" $CONTROL n1="$(address n1)" n2="$(address n2)"
for name in cp n1 n2; do
  mkdir -p "$STATE/$name/etc/cni" "$STATE/$name/log" "$STATE/$name/disk"
  etc=$STATE/$name/etc
  echo "ADDRESS=$(address $name)" >"$etc/machine.env"
  case $name in
    cp) keys='ca apiserver kubelet-client controller-manager scheduler sa' ;;
    *) keys="ca kube-proxy $name" ;;
  esac
  for key in $keys; do cp "$STATE/pki/$key".* "$etc/"; done
  for file in containerd.toml kubelet.yaml kube-proxy.yaml; do
    sed "s/LAB_NAME/$name/; s/LAB_ADDRESS/$(address $name)/; s/LAB_MODE/$mode/" "$HERE/etc/$file" >"$etc/$file"
  done
  sed "s/LAB_NUMBER/${name#n}/" "$HERE/etc/lab.conflist" >"$etc/cni/lab.conflist"
done
tell 'starting a control plane and two nodes'
for name in cp n1 n2; do
  # `setsid` so that no terminal's signal reaches it; it goes on after this script and ends by `down`.
  sh -c "$JOIN" "$OURS/cgroup.procs" nsenter --net="/run/netns/$P-$name" unshare --mount --uts --ipc --pid --fork --kill-child \
    setsid sh "$HERE/machine.sh" $name "$binaries" "$images" </dev/null >"$STATE/$name/log/machine.log" 2>&1 &
done
fail() {
  tell "$*"
  tail -n 3 "$STATE"/*/log/machine.log "$STATE"/*/log/kube*.log >&2 || true
  sh "$HERE/down.sh"
  exit 1
}
there() { [ -s "$STATE/$1.pid" ]; }
for name in cp n1 n2; do until_ok 20 there $name || fail "machine $name did not start"; done

sh -c "$JOIN" "$OURS/cgroup.procs" nsenter -t "$(cat "$STATE/cp.pid")" -m python3 -I /opt/undrop-lab/gate.py 9 $CONTROL 6443 9>"$STATE/port" \
  </dev/null >"$STATE/gate.log" 2>&1 &
until_ok 10 test -s "$STATE/port" || fail 'the way to the API server is not there'
sed "s#https://$CONTROL:6443#https://127.0.0.1:$(cat "$STATE/port")#" "$STATE/pki/admin.kubeconfig" >"$STATE/admin.kubeconfig"
chmod 600 "$STATE/admin.kubeconfig"
until_ok 60 kubectl get --raw /readyz || fail 'the API server does not get ready'
tell "the API server is ready after $(took)"

objects() {
  cat "$HERE/namespaces.yaml"
  echo ---
  kubectl -n shop create configmap lab --from-file="$HERE/../netns/echo.py" --dry-run=client -o yaml
  for file in manifests dns; do
    echo ---
    cat "$HERE/$file.yaml"
  done
}
apply() { objects | kubectl apply -f -; }
# The chart's own agents, as a user's cluster has them, with the right to change.
agents() {
  "$helm" template undrop "$HERE/../../deploy/chart" --namespace undrop --set changer.enabled=true \
    --set images.agent.repository=localhost/undrop/agent --set images.agent.tag=dev --set images.agent.pullPolicy=Never |
    kubectl apply -f - >/dev/null
}
until_ok 30 apply || fail 'the API server refuses the objects of the lab'
agents || fail 'the chart of the agents is refused'
proxy_config
kubectl wait --for=condition=Ready --timeout=60s node/n1 node/n2 >/dev/null || fail 'the nodes do not get ready'
tell "the nodes are ready after $(took)"
kubectl -n shop rollout status deployment/echo --timeout=60s >/dev/null || fail 'the application does not start'
kubectl -n shop wait --for=condition=Ready --timeout=60s pod/client pod/client2 >/dev/null || fail 'the clients do not start'
for set in agent changer; do
  kubectl -n undrop rollout status daemonset/undrop-$set --timeout=60s >/dev/null || fail "the ${set}s do not start"
done
for pod in client client2; do until_ok 30 answers $pod || fail "the Service does not answer $pod"; done
tell "the Service answers after $(took)"
echo "KUBECONFIG=$STATE/admin.kubeconfig"
