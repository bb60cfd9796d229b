# Versions, places, names and addresses. Everything else reads them from here.
# shellcheck shell=bash disable=SC2034

kubernetes_version=${KUBERNETES_VERSION:-1.34.4}
coredns_version=${COREDNS_VERSION:-1.12.4}
etcd_version=${ETCD_VERSION:-3.6.13}

number=${TELEPRESENCE_PY_CLUSTER_NUMBER:-0}
case $number in
0) prefix=tpp node_network=198.51.100 suffix= ;;   # RFC 5737: addresses that are nobody's
1) prefix=tpq node_network=203.0.113 suffix=-1 ;;
*) echo "cluster: TELEPRESENCE_PY_CLUSTER_NUMBER is 0 or 1" >&2; exit 2 ;;
esac

cache=${XDG_CACHE_HOME:-$HOME/.cache}/telepresence-py/cluster
state=/run/telepresence-py-cluster$suffix
bin=$cache/bin-$kubernetes_version
images=$cache/images
kubeconfig=$state/kubeconfig
pki=$state/pki

# Only the node addresses are routed on the host. Pod and service addresses end there in an `unreachable`
# route, as they would on the way to a cluster far away; the only way in is the API server.
bridge=${prefix}0
bridge_v4=$node_network.1
bridge_v6=fd00:5$((number + 1))::1
pods_v4=10.1${number}8.0.0/16
pods_v6=fd00:1${number}8::/32
services_v4=10.1${number}7.0.0/16
services_v6=fd00:1${number}7::/112
dns_v4=10.1${number}7.0.10
dns_v6=fd00:1${number}7::a

node_namespace() { echo "$prefix-node$1"; }
node_v4() { echo "$node_network.$((10 + $1))"; }
node_v6() { echo "fd00:5$((number + 1))::$((10 + $1))"; }
node_pods_v4() { echo "10.1${number}8.$1.0/24"; }
node_pods_v6() { echo "fd00:1${number}8:$1::/64"; }
api=https://$(node_v4 1):6443
