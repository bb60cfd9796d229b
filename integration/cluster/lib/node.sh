# A node: named network namespace, its own pid and mount namespaces, a control group; in them containerd,
# kubelet and kube-proxy at the paths of any machine (/var/lib/kubelet, /run/containerd ...), which are bound
# from the node's directory. When the first process of the pid namespace dies, all of it dies.
# shellcheck shell=bash

# path on the node=directory of the node's state
node_directories=(
    /run/containerd=run-containerd
    /var/lib/cni=lib-cni
    /var/lib/kubelet=lib-kubelet
    /var/log/containers=log-containers
    /var/log/pods=log-pods
)

nodes() { (cd "$state" 2>/dev/null && printf '%s\n' node[0-9]* | sed -n 's/^node\([0-9]*\)$/\1/p'); }

containerd_root() { echo "$cache/containerd$suffix-$1"; }

start_node() { # start_node NODE
    local n=$1 ns dir=$state/node$1 pair
    ns=$(node_namespace "$n")
    mkdir -p "$dir/cni" "$(containerd_root "$n")"
    ip netns add "$ns"
    connect_node "$n"
    make_cgroups "$ns"
    local binds=("$(containerd_root "$n")" /var/lib/containerd)
    make_directory_on_host /var/lib/containerd
    for pair in "${node_directories[@]}"; do
        mkdir -p "$dir/${pair#*=}"
        make_directory_on_host "${pair%=*}"
        binds+=("$dir/${pair#*=}" "${pair%=*}")
    done
    # the program that holds a pod's namespaces and reaps its orphans holds the node's as well
    spawn "node-$n" nsenter "--net=/run/netns/$ns" unshare --kill-child --fork --pid --mount --mount-proc \
        "$here/lib/enter_node" "$dir/entered" "$bin/pause" "${binds[@]}"
    write_node_configuration "$n"
}

# Mount points that this machine lacks are made, written down, and removed with the cluster.
make_directory_on_host() {
    local path=$1 missing=()
    until [ -d "$path" ]; do missing=("$path" "${missing[@]}"); path=$(dirname "$path"); done
    [ ${#missing[@]} -eq 0 ] || { mkdir -p "${missing[-1]}"; printf '%s\n' "${missing[@]}" >>"$state/made-directories"; }
}

# Removing what is a mount point on a node of the other cluster would unmount it there: that one inherits.
remove_made_directories() {
    local other
    [ -f "$state/made-directories" ] || return 0
    for other in /run/telepresence-py-cluster*; do
        [ "$other" != "$state" ] || continue
        cat "$state/made-directories" >>"$other/made-directories"
        return
    done
    tac "$state/made-directories" | while read -r path; do rmdir "$path" 2>/dev/null || true; done
}

make_cgroups() { # version 1: one in each hierarchy; version 2: one
    local ns=$1 controller file
    if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
        for controller in $(</sys/fs/cgroup/cgroup.controllers); do
            echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control 2>/dev/null || true
        done
        mkdir -p "/sys/fs/cgroup/$ns"
        return
    fi
    for controller in cpu cpuacct cpuset memory devices freezer blkio pids systemd hugetlb; do
        [ ! -d "/sys/fs/cgroup/$controller" ] || mkdir -p "/sys/fs/cgroup/$controller/$ns"
    done
    for file in cpuset.cpus cpuset.mems; do # empty in a new group, which then takes no process
        [ ! -f "/sys/fs/cgroup/cpuset/$file" ] || cat "/sys/fs/cgroup/cpuset/$file" >"/sys/fs/cgroup/cpuset/$ns/$file"
    done
}

write_node_configuration() {
    local n=$1 dir=$state/node$1
    # imageGCHighThresholdPercent 100: never; an image that was loaded cannot be pulled again
    # restrict_oom_score_adj: without CAP_SYS_RESOURCE (a CI container) a score cannot be lowered
    cat >"$dir/containerd.toml" <<TOML
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "$dir/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$dir/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
TOML
    cat >"$dir/cni/10-pods.conflist" <<JSON
{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {"type": "ptp", "ipam": {"type": "host-local",
    "ranges": [[{"subnet": "$(node_pods_v4 "$n")"}], [{"subnet": "$(node_pods_v6 "$n")"}]],
    "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
JSON
    cat >"$dir/kubelet.yaml" <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: false}
  x509: {clientCAFile: "$pki/ca.crt"}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
cgroupRoot: /$(node_namespace "$n")
clusterDNS: ["$dns_v4"]
clusterDomain: cluster.local
containerRuntimeEndpoint: unix://$dir/containerd.sock
volumePluginDir: /var/lib/kubelet/volume-plugins
failSwapOn: false
imageGCHighThresholdPercent: 100
syncFrequency: 5s
nodeStatusUpdateFrequency: 5s
evictionHard: {memory.available: "100Mi", nodefs.available: "1%", imagefs.available: "1%", nodefs.inodesFree: "1%"}
YAML
}

# The pid, seen from the host, of a node's first process: the only child of `unshare`.
node_init() {
    local parent
    parent=$(cat "$state/pid/node-$1")
    tr -d ' ' <"/proc/$parent/task/$parent/children"
}

# in_node NODE NAME COMMAND...: a daemon inside the node's namespaces
in_node() {
    local n=$1 name=$2
    shift 2
    spawn "$name-$n" nsenter --target "$(node_init "$n")" --net --mount --pid -- "$@"
}

start_containerd() {
    local n=$1 dir=$state/node$1
    wait_until 10 "the namespaces of node $n" test -e "$dir/entered"
    in_node "$n" containerd containerd -c "$dir/containerd.toml"
    wait_until 20 "containerd on node $n" ctr_on "$n" version
    load_on "$n" "$images"/{pause,coredns,python}.tar
}

# conntrack-*=0: the host's limits are not a node's to set
start_kubelet() {
    local n=$1 dir=$state/node$1
    in_node "$n" kubelet "$bin/kubelet" --config="$dir/kubelet.yaml" --kubeconfig="$kubeconfig" \
        --hostname-override="node$n" --node-ip="$(node_v4 "$n"),$(node_v6 "$n")"
    in_node "$n" kube-proxy "$bin/kube-proxy" --kubeconfig="$kubeconfig" --hostname-override="node$n" \
        --proxy-mode=nftables --cluster-cidr="$pods_v4,$pods_v6" --healthz-bind-address=127.0.0.1:10256 \
        --conntrack-max-per-core=0 --conntrack-tcp-timeout-established=0 --conntrack-tcp-timeout-close-wait=0
}

nodes_ready() {
    [ "$(kubectl get nodes -o 'jsonpath={range .items[*]}{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}' |
        grep -c True)" -ge "$1" ]
}
