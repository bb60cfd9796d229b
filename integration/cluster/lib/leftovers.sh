# What a cluster could leave on the machine: asked after `down`, and answered by nothing.
# shellcheck shell=bash

verify_gone() {
    local found
    found=$(leftovers)
    [ -z "$found" ] || { say "left behind:"; echo "$found" >&2; return 1; }
}

leftovers() {
    [ ! -e "$state" ] || echo "directory $state"
    ip netns list | sed -n "s/^\($prefix-node[^ ]*\).*/network namespace \1/p"
    ip -br link | sed -n "s/^\(\(${bridge}\|${prefix}v[0-9]*\)\)[@ ].*/link \1/p"
    { ip route show table all; ip -6 route show table all; } | grep -F \
        -e "${pods_v4%.0.0/16}." -e "${services_v4%.0.0/16}." -e "${pods_v6%::/32}:" -e "${services_v6%::/112}:" \
        -e "$node_network." -e "${bridge_v6%1}" | sed 's/^/route /'
    awk -v state="$state" '$2 == state || index($2, state "/") == 1 {print "mount " $2}' /proc/mounts
    find /sys/fs/cgroup -type d -path "*/$prefix-node*" | sed 's/^/cgroup /'
    processes_of "$prefix-node" | sed 's/^/process /'
}

# processes_of NAME: pid and command line of whatever is in a control group NAME* or is told a path in our state
processes_of() {
    local entry line
    for entry in /proc/[0-9]*; do
        line=$(tr '\0' ' ' 2>/dev/null <"$entry/cmdline") || continue
        [ -n "$line" ] || continue # has ended
        if [[ $line == *"$state/"* ]] || grep -qs "/$1" "$entry/cgroup"; then
            echo "${entry#/proc/} $line"
        fi
    done
}

no_processes_of() { ! grep -qs "/$1" /proc/[0-9]*/cgroup; }
