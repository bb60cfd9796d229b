# What a cluster is on this machine, found by name and not by what some file remembers; so that `down` also
# ends what a broken `up` left, and what `verify-gone` looks for is what `down` removes.
# shellcheck shell=bash

verify_gone() {
    local found
    found=$(leftovers)
    [ -z "$found" ] || { say "left behind:"; echo "$found" >&2; return 1; }
}

leftovers() {
    local pid
    [ ! -e "$state" ] || echo "directory $state"
    network_namespaces | sed 's/^/network namespace /'
    links | sed 's/^/link /'
    { ip route show table all; ip -6 route show table all; } | grep -F \
        -e "${pods_v4%.0.0/16}." -e "${services_v4%.0.0/16}." -e "${pods_v6%::/32}:" -e "${services_v6%::/112}:" \
        -e "$node_network." -e "${bridge_v6%1}" | sed 's/^/route /'
    awk -v state="$state" '$2 == state || index($2, state "/") == 1 {print "mount " $2}' /proc/mounts
    cgroups | sed 's/^/cgroup /'
    for pid in $(processes); do echo "process $pid $(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline")"; done
}

network_namespaces() { ip netns list | sed -n "s/^\($prefix-node[0-9]*\).*/\1/p"; }

links() { ip -br link | sed -n "s/^\(\(${bridge}\|${prefix}v[0-9]*\)\)[@ ].*/\1/p"; }

cgroups() { find /sys/fs/cgroup -depth -type d -path "*/$prefix-node*"; }

# What is in a control group of ours, and the programs that we start, told a path in our state; whoever else
# is told one, an editor or somebody's kubectl, is none of ours.
processes() {
    local pid
    grep -lsF "$state/" /proc/[0-9]*/cmdline | cut -d/ -f3 | while read -r pid; do
        case $(readlink "/proc/$pid/exe") in
        */etcd* | */kube-* | */kubelet* | */containerd* | */unshare | */nsenter) echo "$pid" ;;
        esac
    done
    grep -ls "/$prefix-node" /proc/[0-9]*/cgroup | cut -d/ -f3
}

# All at once: nothing outlives its node's pid namespace, and every mount is in its node's mount namespace.
end_processes() {
    local pids deadline=$((SECONDS + 10))
    while mapfile -t pids < <(processes) && [ ${#pids[@]} -gt 0 ]; do
        kill -KILL "${pids[@]}" 2>/dev/null || true
        [ "$SECONDS" -lt "$deadline" ] || die "these processes do not end: ${pids[*]}"
        sleep 0.05
    done
}

remove_names() {
    local name
    for name in $(links); do ip link del "$name"; done
    for name in $(network_namespaces); do ip netns del "$name"; done
    remove_routes
    cgroups | while read -r name; do rmdir "$name" 2>/dev/null || true; done
}
