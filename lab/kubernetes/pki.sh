#!/bin/sh
# Makes the cluster's keys, certificates and kubeconfigs in a folder: pki.sh FOLDER CONTROL-PLANE NODE=ADDRESS…
# They live as long as the lab does.
set -eu
umask 077
mkdir -p "$1"
cd "$1"
control=$2
shift 2

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj /CN=undrop-lab -keyout ca.key -out ca.crt 2>/dev/null
openssl ecparam -name prime256v1 -genkey -noout -out sa.key
openssl pkey -in sa.key -pubout -out sa.pub

kubeconfig() { # NAME SERVER
  cat <<END_CONFIG
apiVersion: v1
kind: Config
current-context: lab
contexts: [{ name: lab, context: { cluster: lab, user: $1 } }]
clusters: [{ name: lab, cluster: { server: '$2', certificate-authority-data: $(base64 -w0 ca.crt) } }]
users: [{ name: $1, user: { client-certificate-data: $(base64 -w0 "$1.crt"), client-key-data: $(base64 -w0 "$1.key") } }]
END_CONFIG
}
certificate() { # NAME SUBJECT [ALTERNATIVE-NAMES]
  printf 'extendedKeyUsage=clientAuth,serverAuth\n%s\n' "${3:+subjectAltName=$3}" >"$1.ext"
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "$2" -keyout "$1.key" -out "$1.csr" 2>/dev/null
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 365 -extfile "$1.ext" -out "$1.crt" 2>/dev/null
  rm "$1.ext" "$1.csr"
  kubeconfig "$1" "https://$control:6443" >"$1.kubeconfig"
}
names=DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:localhost
certificate apiserver /CN=kube-apiserver "$names,IP:127.0.0.1,IP:$control,IP:10.96.0.1"
certificate kubelet-client /CN=apiserver-kubelet-client
certificate admin /O=system:masters/CN=admin
certificate controller-manager /CN=system:kube-controller-manager
certificate scheduler /CN=system:kube-scheduler
certificate kube-proxy /CN=system:kube-proxy
for node; do
  certificate "${node%=*}" "/O=system:nodes/CN=system:node:${node%=*}" "DNS:${node%=*},IP:${node#*=}"
done
