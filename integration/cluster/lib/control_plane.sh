# etcd, API server, controller manager and scheduler, on the network of node 1.
# shellcheck shell=bash

make_credentials() {
    local admin developer
    mkdir -m 0700 "$pki"
    make_certificates
    admin=$(openssl rand -hex 16) developer=$(openssl rand -hex 16)
    # the developer has no rights but those that a test or the demo binds
    (
        umask 077
        printf '%s,admin,admin,"system:masters"\n%s,developer,developer\n' "$admin" "$developer" >"$state/tokens.csv"
        write_kubeconfig admin "$admin" "$kubeconfig"
        write_kubeconfig developer "$developer" "$kubeconfig-developer"
    )
}

make_certificates() {
    (
        cd "$pki"
        openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out service-accounts.key
        openssl pkey -in service-accounts.key -pubout -out service-accounts.pub
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj /CN=telepresence-py-cluster \
            -keyout ca.key -out ca.crt 2>/dev/null
        sign apiserver /CN=kube-apiserver "subjectAltName=IP:$(node_v4 1),IP:$(node_v6 1),IP:${services_v4%.0/16}.1,IP:127.0.0.1,\
DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
        sign kubelet-client /O=system:masters/CN=kube-apiserver extendedKeyUsage=clientAuth
    )
}

sign() { # sign NAME SUBJECT EXTENSION
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "$2" -keyout "$1.key" -out "$1.csr" 2>/dev/null
    openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -out "$1.crt" \
        -extfile <(echo "$3") 2>/dev/null
}

write_kubeconfig() { # write_kubeconfig USER TOKEN FILE
    cat >"$3" <<YAML
apiVersion: v1
kind: Config
clusters:
- name: telepresence-py
  cluster: {server: "$api", certificate-authority-data: $(base64 -w0 "$pki/ca.crt")}
users:
- name: $1
  user: {token: $2}
contexts:
- name: telepresence-py
  context: {cluster: telepresence-py, user: $1, namespace: default}
current-context: telepresence-py
YAML
}

beside_node_1() { # beside_node_1 NAME COMMAND...
    local name=$1
    shift
    spawn "$name" nsenter "--net=/run/netns/$(node_namespace 1)" "$@"
}

start_control_plane() {
    beside_node_1 etcd "$bin/etcd" --data-dir "$state/etcd" --unsafe-no-fsync --listen-peer-urls http://127.0.0.1:2380 \
        --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379
    start_apiserver
    beside_node_1 controller-manager "$bin/kube-controller-manager" --kubeconfig="$kubeconfig" --leader-elect=false \
        --service-account-private-key-file="$pki/service-accounts.key" --root-ca-file="$pki/ca.crt" \
        --use-service-account-credentials
    beside_node_1 scheduler "$bin/kube-scheduler" --kubeconfig="$kubeconfig" --leader-elect=false
    introduce_nodes
}

start_apiserver() {
    beside_node_1 apiserver "$bin/kube-apiserver" --etcd-servers=http://127.0.0.1:2379 \
        --advertise-address="$(node_v4 1)" --secure-port=6443 \
        --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" \
        --token-auth-file="$state/tokens.csv" --authorization-mode=Node,RBAC \
        --service-account-key-file="$pki/service-accounts.pub" \
        --service-account-signing-key-file="$pki/service-accounts.key" \
        --service-account-issuer=https://kubernetes.default.svc.cluster.local \
        --service-cluster-ip-range="$services_v4,$services_v6" \
        --kubelet-client-certificate="$pki/kubelet-client.crt" --kubelet-client-key="$pki/kubelet-client.key" \
        --kubelet-preferred-address-types=InternalIP --allow-privileged=true
}

wait_for_api() { wait_until 90 "the API server" kubectl get --raw /readyz; }

restart_apiserver() {
    end apiserver
    sleep "${1:-1}" # the outage that was asked for
    start_apiserver
    wait_for_api
}

apply_dns() {
    sed "s/@DNS_V4@/$dns_v4/g; s/@DNS_V6@/$dns_v6/; s/@BRIDGE_V4@/$bridge_v4/; s/@BRIDGE_V6@/$bridge_v6/" "$here/dns.yaml" |
        kubectl apply -f - >/dev/null
}
