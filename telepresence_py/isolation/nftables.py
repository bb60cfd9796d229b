"""PURE. The capture as nf_tables messages: one table, one chain at prerouting, a handful of rules.

In the words of nft(8), for IPv4:

    table ip telepresence { chain capture { type filter hook prerouting priority mangle
      meta mark & 0xfffffff0 == 0x54500 accept
      ip daddr != 127.0.0.0/8 ip daddr & 240.0.0.0 != 224.0.0.0
        ip daddr != <pod addresses, 255.255.255.255> meta l4proto tcp tproxy to :P
      ip daddr <pod address> meta l4proto tcp th dport <helper port> tproxy to :P
      the same for udp
      ip daddr != (as above) icmp type echo-request drop
      ip daddr 127.0.0.0/8 meta l4proto tcp socket wildcard <= 1 accept
      ip daddr 127.0.0.0/8 meta l4proto tcp tproxy to :Q } }

Packets meet the chain because a route makes every address local: they leave through `lo` and come back in.
The first rule leaves those alone that are to be rejected (`holding`). As every address is local, the kernel
would answer a `ping` of any itself: what it cannot know is dropped. The last two are `localhost`: where a
socket listens inside, the packet goes there; else to Q. Rules match every packet, not SYN alone, since SYN
cookies would lose connections otherwise. `fib daddr type` cannot tell anything here, as all is local.
"""

from __future__ import annotations

from typing import NamedTuple

from telepresence_py.isolation.netlink import Request
from telepresence_py.isolation.nft_words import (
    PREROUTING,
    TCP,
    UDP,
    Chain,
    Rule,
    accept,
    drop,
    is_echo_request,
    is_for_a_socket,
    is_foreign,
    is_loopback,
    is_marked,
    is_protocol,
    is_to,
    new_table,
    to_port,
)

TABLE = "telepresence"
CHAIN = "capture"
PRIORITY_MANGLE = -150

REFUSED_MARK, REFUSED_MASK = 0x54500, 0xFFFFFFF0
"""Packets with this mark, the last four bits apart, are left to whoever set it."""


class Capture(NamedTuple):
    """What goes where in one family. `pod_addresses` (packed) stay, but for their `helper_ports`; without any
    address, only loopback is captured.

    `port` is the transparent listener and UDP socket, `loopback_port` the listener for what nobody inside
    answers on loopback.
    """

    family: int
    pod_addresses: tuple[bytes, ...]
    port: int
    loopback_port: int
    helper_ports: tuple[int, ...] = ()


def capture_requests(capture: Capture) -> list[Request]:
    """One batch that makes table, chain and rules, all or nothing."""
    return new_table(
        capture.family, TABLE, [Chain(CHAIN, PREROUTING, PRIORITY_MANGLE, list(_rules(capture)))]
    )


def _rules(capture: Capture) -> list[Rule]:
    family = capture.family
    to_us = to_port(family, capture.port)
    rules: list[Rule] = [
        ("nftables rule with mark", [*is_marked(REFUSED_MARK, REFUSED_MASK), *accept()]),
    ]
    if capture.pod_addresses:
        for protocol in (TCP, UDP):
            foreign = [*is_foreign(family, capture.pod_addresses), *is_protocol(protocol)]
            rules.append(("nftables rule with tproxy", [*foreign, *to_us]))
            rules += [
                ("nftables rule with tproxy for a helper", [*is_to(family, address, protocol, port), *to_us])
                for address in capture.pod_addresses
                for port in capture.helper_ports
            ]
        pings = [*is_foreign(family, capture.pod_addresses), *is_echo_request(family), *drop()]
        rules.append(("nftables rule with drop", pings))
    loopback_tcp = [*is_loopback(family), *is_protocol(TCP)]
    rules.append(("nftables rule with socket", [*loopback_tcp, *is_for_a_socket(), *accept()]))
    fall_through = [*loopback_tcp, *to_port(family, capture.loopback_port)]
    rules.append(("nftables rule with tproxy for loopback", fall_through))
    return rules
