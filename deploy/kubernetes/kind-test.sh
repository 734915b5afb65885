#!/bin/sh
# Repeat the tests of the executor kubernetes on a real cluster: kind by default, or the one that kubectl points to.
#   deploy/kubernetes/kind-test.sh [--dry-run] [--current] [PYTEST_ARGUMENT...]
# --dry-run prints the commands and runs none. --current uses the current context of kubectl, as of k3s; then IMAGE must
# name an image of deploy/kubernetes/Containerfile that the cluster can fetch.
# ADDRESS is this machine as pods reach it. An sshd for the tests listens there on PORT.
set -eu
dry='' current=''
while [ $# -gt 0 ]; do
  case $1 in
    --dry-run) dry=yes ;;
    --current) current=yes ;;
    *) break ;;
  esac
  shift
done
here=$(cd "$(dirname "$0")/../.." && pwd)
cluster=minipach-test
namespace=minipach-test
image=${IMAGE:-minipach:kind-test}
port=${PORT:-2222}
engine=${ENGINE:-docker}
run() {
  if [ -n "$dry" ]; then echo "$*"; else "$@"; fi
}
need() {
  [ -n "$dry" ] || command -v "$1" >/dev/null || { echo "kind-test: $1 is not on PATH; install it" >&2; exit 2; }
}
need kubectl
need sshd
if [ -z "$current" ]; then
  need kind
  need "$engine"
  address=${ADDRESS:-}
elif [ -z "${IMAGE:-}" ] || [ -z "${ADDRESS:-}" ]; then
  echo "kind-test: --current needs IMAGE and ADDRESS, see the top of $0" >&2
  exit 2
else
  address=$ADDRESS
fi
folder=$(mktemp -d)
server=
end() {
  [ -z "$server" ] || kill "$server" 2>/dev/null || :
  run kubectl delete namespace "$namespace" --ignore-not-found --wait=false || :
  [ -n "$current" ] || run kind delete cluster --name "$cluster" || :
  rm -r "$folder"
}
trap end EXIT
trap 'exit 130' INT TERM
if [ -z "$current" ]; then
  run "$engine" build -f "$here/deploy/kubernetes/Containerfile" -t "$image" "$here"
  run kind create cluster --name "$cluster" --wait 120s
  run kind load docker-image "$image" --name "$cluster"
  if [ -z "$address" ] && [ -n "$dry" ]; then
    address=GATEWAY
  elif [ -z "$address" ]; then
    address=$("$engine" network inspect kind --format '{{range .IPAM.Config}}{{.Gateway}} {{end}}' | tr ' ' '\n' | grep -m1 -F .)
  fi
fi
run ssh-keygen -q -t ed25519 -N "" -f "$folder/host"
run ssh-keygen -q -t ed25519 -N "" -f "$folder/worker"
if [ -n "$dry" ]; then
  echo "sshd on $address:$port"
else
  sed -e "s|^Port .*|Port $port|" -e "s|^HostKey .*|HostKey $folder/host|" -e "s|^AuthorizedKeysFile .*|AuthorizedKeysFile $folder/worker.pub|" \
    "$here/deploy/kubernetes/server/sshd_config" >"$folder/sshd_config"
  echo "SetEnv PATH=$here/.venv/bin:$PATH" >>"$folder/sshd_config"
  "$(command -v sshd)" -D -e -f "$folder/sshd_config" 2>"$folder/sshd.log" &
  server=$!
  echo "[$address]:$port $(cut -d' ' -f1,2 "$folder/host.pub")" >"$folder/known_hosts"
fi
run kubectl create namespace "$namespace"
run kubectl --namespace "$namespace" create secret generic minipach-ssh \
  --from-file=id_ed25519="$folder/worker" --from-file=known_hosts="$folder/known_hosts"
MINIPACH_TEST_CLUSTER="image=$image git=ssh://$(id -un)@$address:$port ssh-secret=minipach-ssh namespace=$namespace pods=4"
export MINIPACH_TEST_CLUSTER
if [ -n "$dry" ]; then echo "MINIPACH_TEST_CLUSTER=$MINIPACH_TEST_CLUSTER"; fi
run "$here/.venv/bin/python" -m pytest -m slow "$here/tests/executors/kubernetes/test_any_cluster.py" "$@"
