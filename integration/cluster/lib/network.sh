# The wires: a bridge on the host that joins the nodes, and routes that lead nowhere for what is inside.
# shellcheck shell=bash

start_network() {
    # without snooping: it drops the first neighbour solicitation, and the first IPv6 packet waits a second
    ip link add "$bridge" type bridge mcast_snooping 0
    ip addr add "$bridge_v4/24" dev "$bridge"
    ip addr add "$bridge_v6/64" dev "$bridge" nodad
    ip link set "$bridge" up
    # such a packet that is not in a tunnel must fail here at once, rather than leave the machine
    ip route replace unreachable "$pods_v4"
    ip route replace unreachable "$services_v4"
    ip -6 route replace unreachable "$pods_v6"
    ip -6 route replace unreachable "$services_v6"
}

remove_routes() {
    ip route del unreachable "$pods_v4" 2>/dev/null || true
    ip route del unreachable "$services_v4" 2>/dev/null || true
    ip -6 route del unreachable "$pods_v6" 2>/dev/null || true
    ip -6 route del unreachable "$services_v6" 2>/dev/null || true
}

connect_node() { # connect_node NODE: its network namespace exists
    local n=$1 ns
    ns=$(node_namespace "$n")
    ip link add "${prefix}v$n" type veth peer name eth0 netns "$ns"
    ip link set "${prefix}v$n" master "$bridge" up
    ip -n "$ns" link set lo up
    ip -n "$ns" addr add "$(node_v4 "$n")/24" dev eth0
    ip -n "$ns" addr add "$(node_v6 "$n")/64" dev eth0 nodad
    ip -n "$ns" link set eth0 up
    ip -n "$ns" route add default via "$bridge_v4"
    ip -n "$ns" -6 route add default via "$bridge_v6"
    ip netns exec "$ns" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
    # pods keep their addresses among themselves and borrow their node's towards everything else
    ip netns exec "$ns" nft -f - <<NFT
table inet pods {
    chain postrouting {
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr $pods_v4 ip daddr != { $pods_v4, $services_v4 } oifname "eth0" masquerade
        ip6 saddr $pods_v6 ip6 daddr != { $pods_v6, $services_v6 } oifname "eth0" masquerade
    }
}
NFT
}

# Every node routes to the pods of every other.
introduce_nodes() {
    local n m ns
    for n in $(nodes); do
        ns=$(node_namespace "$n")
        for m in $(nodes); do
            [ "$m" != "$n" ] || continue
            ip -n "$ns" route replace "$(node_pods_v4 "$m")" via "$(node_v4 "$m")"
            ip -n "$ns" -6 route replace "$(node_pods_v6 "$m")" via "$(node_v6 "$m")"
        done
    done
}
