"""PURE. The rules that hold the first packet of a TCP connection until the session has decided about it.

In the words of nft(8), for IPv4, in a table of its own that can go again:

    table ip telepresence-hold {
      chain hold { type filter hook prerouting priority -160     # before the capture
        <what the capture takes> tcp flags & (fin|syn|rst|ack) == syn queue to 0
        ip daddr 127.0.0.0/8 tcp flags ... socket wildcard <= 1 accept
        ip daddr 127.0.0.0/8 tcp flags ... queue to 0 }
      chain reject { type filter hook input priority filter
        meta mark <that of refused> meta l4proto tcp reject with tcp reset
        meta mark <that of no host> reject with icmp type host-unreachable
        ... } }

A packet that is let go goes on to the capture, as though it had come just now; one that is refused carries a
mark, which the capture leaves alone. Nothing but first packets meets the queue, so what stands is as fast as
without it. The rejection stands at input since older kernels take it nowhere before.

For kernels without a queue the packet is logged and dropped, and sent again with a mark once it is decided:

        meta mark <that of let go> accept
        meta mark & 0xfffffff0 == <those of refused> accept
        <as above> log group 0 queue-threshold 1 drop
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from enum import Enum

from telepresence_py.isolation.netlink import Request
from telepresence_py.isolation.nft_words import (
    INPUT,
    PREROUTING,
    TCP,
    Chain,
    Rule,
    accept,
    delete_table,
    drop,
    is_first_of_tcp,
    is_for_a_socket,
    is_foreign,
    is_loopback,
    is_marked,
    is_protocol,
    is_to,
    new_table,
    reject_by_icmp,
    reject_by_reset,
    to_log,
    to_queue,
    to_queue_of_xtables,
)
from telepresence_py.isolation.nftables import PRIORITY_MANGLE, REFUSED_MARK, REFUSED_MASK, Capture

TABLE = "telepresence-hold"
QUEUE = 0
"""The number of the queue, and of the log's group, in a network namespace that is ours."""

LET_GO = 0x54600
"""The mark of a packet that was logged and goes on; the capture takes it as any other."""

REFUSED, NO_HOST, NO_NETWORK, FORBIDDEN = (REFUSED_MARK + number for number in (1, 2, 3, 4))

_MARKS = {
    errno.ECONNREFUSED: REFUSED,
    errno.EHOSTUNREACH: NO_HOST,
    errno.ENETUNREACH: NO_NETWORK,
    errno.ENETDOWN: NO_NETWORK,
    errno.EACCES: FORBIDDEN,
}

# codes of "destination unreachable": RFC 792 and RFC 1812, RFC 4443
_CODES = {
    socket.AF_INET: {NO_HOST: 1, NO_NETWORK: 0, FORBIDDEN: 13},
    socket.AF_INET6: {NO_HOST: 3, NO_NETWORK: 0, FORBIDDEN: 1},
}


def mark_of(error: int) -> int:
    """The mark by which connect(2) fails with that errno, or with EHOSTUNREACH where none can tell it:
    the kernel makes an errno of what a network can say (RFC 1122, 4.2.3.9), and of nothing else.

    Of IPv4 "forbidden" is EHOSTUNREACH too, which is all that the kernel makes of it.
    """
    return _MARKS.get(error, NO_HOST)


class Way(Enum):
    """How packets are held."""

    QUEUE = "the kernel keeps them"
    QUEUE_OF_XTABLES = "the same, where there is no nft_queue"
    LOG = "they are dropped, and copies of them sent again"


def hold_requests(capture: Capture, way: Way) -> list[Request]:
    """One batch that makes the table, all or nothing."""
    family = capture.family
    queued = _HELD[way]()
    first = is_first_of_tcp()
    hold: list[Rule] = []
    if way is Way.LOG:
        hold.append(("nftables rule with mark", [*is_marked(LET_GO), *accept()]))
        hold.append(("nftables rule with mark", [*is_marked(REFUSED_MARK, REFUSED_MASK), *accept()]))
    if capture.pod_addresses:
        foreign = [*is_foreign(family, capture.pod_addresses), *first]
        hold.append(("nftables rule that holds", [*foreign, *queued]))
        hold += [
            ("nftables rule that holds for a helper", [*is_to(family, address, TCP, port), *first, *queued])
            for address in capture.pod_addresses
            for port in capture.helper_ports
        ]
    loopback = [*is_loopback(family), *first]
    hold.append(("nftables rule with socket", [*loopback, *is_for_a_socket(), *accept()]))
    hold.append(("nftables rule that holds for loopback", [*loopback, *queued]))
    chains = [
        Chain("hold", PREROUTING, PRIORITY_MANGLE - 10, hold),
        Chain("reject", INPUT, 0, _rejections(family)),
    ]
    return new_table(family, TABLE, chains)


def release_requests(family: int) -> list[Request]:
    """What undoes it."""
    return delete_table(family, TABLE)


_HELD: dict[Way, Callable[[], list[bytes]]] = {
    Way.QUEUE: lambda: to_queue(QUEUE),
    Way.QUEUE_OF_XTABLES: lambda: to_queue_of_xtables(QUEUE),
    Way.LOG: lambda: [*to_log(QUEUE), *drop()],
}


def _rejections(family: int) -> list[Rule]:
    tcp = is_protocol(TCP)
    rules: list[Rule] = [
        ("nftables rule with reset", [*is_marked(REFUSED), *tcp, *reject_by_reset()]),
    ]
    for mark, code in _CODES[socket.AddressFamily(family)].items():
        rules.append(("nftables rule with reject", [*is_marked(mark), *tcp, *reject_by_icmp(code)]))
    return rules
