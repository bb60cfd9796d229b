"""PURE. The capture as nf_tables messages: one table, one chain at prerouting, a handful of rules.

In the words of nft(8), for IPv4:

    table ip telepresence { chain capture { type filter hook prerouting priority mangle
      ip daddr != 127.0.0.0/8 ip daddr < 224.0.0.0 ip daddr != <pod addresses> meta l4proto tcp tproxy to :P
      ip daddr <pod address> meta l4proto tcp th dport <helper port> tproxy to :P
      the same for udp
      ip daddr 127.0.0.0/8 meta l4proto tcp socket wildcard <= 1 accept
      ip daddr 127.0.0.0/8 meta l4proto tcp tproxy to :Q } }

Packets meet the chain because a route makes every address local: they leave through `lo` and come back in.
The last two rules are `localhost`: where a socket listens inside, the packet goes there; else to Q.
Rules match every packet, not SYN alone, since SYN cookies would lose connections otherwise. `fib daddr type`
cannot tell anything here, as all is local. Layouts are those of <linux/netfilter/nf_tables.h>.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from telepresence_py.isolation.netlink import (
    AF_INET,
    NLM_F_ACK,
    NLM_F_APPEND,
    NLM_F_CREATE,
    Request,
    attribute,
    nested,
)

TABLE = "telepresence"
CHAIN = "capture"

_SUBSYSTEM = 10
_BATCH_BEGIN = 0x10
_BATCH_END = 0x11
_NEW_TABLE = _SUBSYSTEM << 8 | 0
_NEW_CHAIN = _SUBSYSTEM << 8 | 3
_NEW_RULE = _SUBSYSTEM << 8 | 6
_HOOK_PREROUTING = 0
_PRIORITY_MANGLE = -150
_ACCEPT = 1
_TCP, _UDP = 6, 17
_EQUAL, _NOT_EQUAL, _LESS, _LESS_OR_EQUAL = 0, 1, 2, 3
_NETWORK_HEADER = 1
_TRANSPORT_HEADER = 2
_META_L4PROTO = 16
_SOCKET_WILDCARD = 2


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
    family = capture.family
    batch = struct.pack(">BBH", 0, 0, _SUBSYSTEM)
    table, chain = attribute(1, _text(TABLE)), attribute(3, _text(CHAIN))
    hook = nested(4, attribute(1, _be32(_HOOK_PREROUTING)), attribute(2, struct.pack(">i", _PRIORITY_MANGLE)))
    requests = [
        Request("batch", _BATCH_BEGIN, 0, batch),
        _request(family, "nftables table", _NEW_TABLE, NLM_F_CREATE, table),
        _request(
            family,
            "nftables chain",
            _NEW_CHAIN,
            NLM_F_CREATE,
            table + chain + hook + attribute(7, _text("filter")),
        ),
    ]
    for what, expressions in _rules(capture):
        body = table + attribute(2, _text(CHAIN)) + nested(4, *expressions)
        requests.append(_request(family, what, _NEW_RULE, NLM_F_CREATE | NLM_F_APPEND, body))
    return [*requests, Request("batch", _BATCH_END, 0, batch)]


def _request(family: int, what: str, kind: int, flags: int, attributes: bytes) -> Request:
    protocol_family = 2 if family == AF_INET else 10  # NFPROTO_IPV4, NFPROTO_IPV6
    return Request(what, kind, flags | NLM_F_ACK, struct.pack("=BBH", protocol_family, 0, 0) + attributes)


def _rules(capture: Capture) -> list[tuple[str, list[bytes]]]:
    rules = []
    if capture.pod_addresses:
        for protocol in (_TCP, _UDP):
            expressions = [
                *_is_foreign(capture),
                *_is_protocol(protocol),
                *_to_port(capture.family, capture.port),
            ]
            rules.append(("nftables rule with tproxy", expressions))
            rules += [
                ("nftables rule with tproxy for a helper", _to_helper(capture, address, protocol, port))
                for address in capture.pod_addresses
                for port in capture.helper_ports
            ]
    loopback_tcp = [*_is_loopback(capture.family), *_is_protocol(_TCP)]
    # `wildcard` is 0 or 1 where a socket is found, and ends the rule where none is
    answered_inside = [_socket_wildcard(), _compare(_LESS_OR_EQUAL, b"\x01"), _verdict(_ACCEPT)]
    rules.append(("nftables rule with socket", [*loopback_tcp, *answered_inside]))
    fall_through = [*loopback_tcp, *_to_port(capture.family, capture.loopback_port)]
    rules.append(("nftables rule with tproxy for loopback", fall_through))
    return rules


def _is_loopback(family: int) -> list[bytes]:
    if family == AF_INET:
        return [_destination(family, 1), _compare(_EQUAL, b"\x7f")]
    return [_destination(family, 16), _compare(_EQUAL, _V6_LOOPBACK)]


def _is_foreign(capture: Capture) -> list[bytes]:
    """Neither loopback, nor multicast or broadcast, nor the pod's own."""
    family = capture.family
    if family == AF_INET:
        tests = [_destination(family, 1), _compare(_NOT_EQUAL, b"\x7f"), _compare(_LESS, b"\xe0")]
    else:
        tests = [_destination(family, 1), _compare(_NOT_EQUAL, b"\xff")]
        tests += [_destination(family, 16), _compare(_NOT_EQUAL, _V6_LOOPBACK)]
    tests.append(_destination(family, len(capture.pod_addresses[0])))
    return tests + [_compare(_NOT_EQUAL, address) for address in capture.pod_addresses]


def _to_helper(capture: Capture, address: bytes, protocol: int, port: int) -> list[bytes]:
    return [
        _destination(capture.family, len(address)),
        _compare(_EQUAL, address),
        *_is_protocol(protocol),
        _destination_port(),
        _compare(_EQUAL, struct.pack(">H", port)),
        *_to_port(capture.family, capture.port),
    ]


def _is_protocol(protocol: int) -> list[bytes]:
    return [_meta(_META_L4PROTO), _compare(_EQUAL, bytes([protocol]))]


def _to_port(family: int, port: int) -> list[bytes]:
    tproxy = _expression(
        "tproxy", attribute(1, _be32(2 if family == AF_INET else 10)), attribute(3, _be32(1))
    )
    return [_immediate(struct.pack(">H", port)), tproxy]


_V6_LOOPBACK = bytes(15) + b"\x01"


# the expressions; register 1 holds what is compared, register 0 is the verdict


def _be32(number: int) -> bytes:
    return struct.pack(">I", number)


def _text(text: str) -> bytes:
    return text.encode() + b"\0"


def _expression(name: str, *attributes: bytes) -> bytes:
    return nested(1, attribute(1, _text(name)), nested(2, *attributes))


def _destination(family: int, length: int) -> bytes:
    """The first bytes of the destination address, into register 1."""
    return _payload(_NETWORK_HEADER, 16 if family == AF_INET else 24, length)


def _destination_port() -> bytes:
    """Of TCP and UDP, into register 1."""
    return _payload(_TRANSPORT_HEADER, 2, 2)


def _payload(header: int, offset: int, length: int) -> bytes:
    where = (attribute(2, _be32(header)), attribute(3, _be32(offset)), attribute(4, _be32(length)))
    return _expression("payload", attribute(1, _be32(1)), *where)


def _compare(operator: int, value: bytes) -> bytes:
    return _expression(
        "cmp", attribute(1, _be32(1)), attribute(2, _be32(operator)), nested(3, attribute(1, value))
    )


def _meta(key: int) -> bytes:
    return _expression("meta", attribute(1, _be32(1)), attribute(2, _be32(key)))


def _immediate(value: bytes) -> bytes:
    return _expression("immediate", attribute(1, _be32(1)), nested(2, attribute(1, value)))


def _verdict(code: int) -> bytes:
    return _expression("immediate", attribute(1, _be32(0)), nested(2, nested(2, attribute(1, _be32(code)))))


def _socket_wildcard() -> bytes:
    return _expression("socket", attribute(1, _be32(_SOCKET_WILDCARD)), attribute(2, _be32(1)))
