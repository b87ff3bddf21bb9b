#!/bin/sh
# The services of a machine, which has its own root file system here: init.sh NAME.
set -eu
ETC=/etc/undrop-lab
# shellcheck source=/dev/null # what up.sh writes
. $ETC/machine.env
cd /

# Starts a program whenever it ends; /run/NAME.pid is its process id, which faults stop and kill.
service() {
  name=$1
  shift
  (
    while :; do
      "$@" >>"/var/log/$name.log" 2>&1 &
      echo $! >"/run/$name.pid"
      wait $! || true
      sleep 0.5
    done
  ) &
}
# What finds no API server waits seconds before it tries again.
api_ready() { until kubectl --kubeconfig="$ETC/$1.kubeconfig" get --raw /readyz >/dev/null 2>&1; do sleep 0.1; done; }

control_plane() {
  service etcd etcd --data-dir=/var/lib/etcd --listen-client-urls=http://127.0.0.1:2379 \
    --advertise-client-urls=http://127.0.0.1:2379 --listen-peer-urls=http://127.0.0.1:2380 --unsafe-no-fsync
  service kube-apiserver kube-apiserver --etcd-servers=http://127.0.0.1:2379 --bind-address="$ADDRESS" --advertise-address="$ADDRESS" \
    --secure-port=6443 --service-cluster-ip-range=10.96.0.0/16 --allow-privileged=true --authorization-mode=Node,RBAC \
    --enable-admission-plugins=NodeRestriction --client-ca-file=$ETC/ca.crt --tls-cert-file=$ETC/apiserver.crt \
    --tls-private-key-file=$ETC/apiserver.key --kubelet-client-certificate=$ETC/kubelet-client.crt \
    --kubelet-client-key=$ETC/kubelet-client.key --kubelet-certificate-authority=$ETC/ca.crt \
    --kubelet-preferred-address-types=InternalIP --service-account-issuer=https://kubernetes.default.svc \
    --service-account-key-file=$ETC/sa.pub --service-account-signing-key-file=$ETC/sa.key
  api_ready controller-manager
  as() { echo "--kubeconfig=$ETC/$1.kubeconfig --authentication-kubeconfig=$ETC/$1.kubeconfig
    --authorization-kubeconfig=$ETC/$1.kubeconfig --leader-elect=false --bind-address=127.0.0.1"; }
  # shellcheck disable=SC2046 # lists of words
  service kube-scheduler kube-scheduler $(as scheduler)
  # Its default of 20 requests a second would cost four seconds at the start, for each controller's own account.
  # shellcheck disable=SC2046
  service kube-controller-manager kube-controller-manager $(as controller-manager) --service-cluster-ip-range=10.96.0.0/16 \
    --kube-api-qps=500 --kube-api-burst=500 \
    --root-ca-file=$ETC/ca.crt --service-account-private-key-file=$ETC/sa.key --use-service-account-credentials
}

node() {
  # On a real node the way to it (the kubelet's port, and on loopback the streams of exec) is tracked like all else, and a
  # full table cuts it. This exempts it.
  [ "${UNDROP_MGMT_NOTRACK:-}" != 1 ] || nft -f /opt/undrop-lab/notrack-management.nft
  service containerd containerd -c $ETC/containerd.toml
  until ctr version >/dev/null 2>&1; do sleep 0.1; done
  for image in pause agent; do ctr -n k8s.io images import "/opt/images/$image.tar"; done
  api_ready "$1"
  service kube-proxy kube-proxy --config=$ETC/kube-proxy.yaml
  service kubelet kubelet --config=$ETC/kubelet.yaml --kubeconfig="$ETC/$1.kubeconfig" --hostname-override="$1" --node-ip="$ADDRESS"
}

if [ "$1" = cp ]; then control_plane; else node "$1"; fi
wait
