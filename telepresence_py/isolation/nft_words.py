"""PURE. The words that nf_tables rules are made of, as netlink bytes, and batches of them.

Register 1 holds what is compared, register 0 is the verdict. Layouts are those of
<linux/netfilter/nf_tables.h> and <linux/netfilter/nf_tables_compat.h>.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
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

DROP, ACCEPT = 0, 1
TCP, UDP = 6, 17
EQUAL, NOT_EQUAL, LESS, LESS_OR_EQUAL = 0, 1, 2, 3
PREROUTING, INPUT, OUTPUT = 0, 1, 3

_SUBSYSTEM = 10
_BATCH_BEGIN = 0x10
_BATCH_END = 0x11
_NEW_TABLE = _SUBSYSTEM << 8 | 0
_DELETE_TABLE = _SUBSYSTEM << 8 | 2
_NEW_CHAIN = _SUBSYSTEM << 8 | 3
_NEW_RULE = _SUBSYSTEM << 8 | 6
_NETWORK_HEADER = 1
_TRANSPORT_HEADER = 2
_META_MARK = 3
_META_L4PROTO = 16
_SOCKET_WILDCARD = 2
_REJECT_ICMP, _REJECT_RESET = 0, 1
_V6_LOOPBACK = bytes(15) + b"\x01"
_BROADCAST = b"\xff" * 4

Rule = tuple[str, list[bytes]]
"""What it is called in errors, and its expressions."""


class Chain(NamedTuple):
    """A base chain: hook, priority, rules, and its type, filter or nat."""

    name: str
    hook: int
    priority: int
    rules: list[Rule]
    kind: str = "filter"


# batches


def new_table(family: int, name: str, chains: Iterable[Chain]) -> list[Request]:
    """One batch that makes the table with its chains and rules, all or nothing."""
    table = attribute(1, text(name))
    requests = [_request(family, "nftables table", _NEW_TABLE, NLM_F_CREATE, table)]
    for chain in chains:
        where = nested(4, attribute(1, be32(chain.hook)), attribute(2, struct.pack(">i", chain.priority)))
        body = table + attribute(3, text(chain.name)) + where + attribute(7, text(chain.kind))
        requests.append(_request(family, "nftables chain", _NEW_CHAIN, NLM_F_CREATE, body))
        for what, expressions in chain.rules:
            body = table + attribute(2, text(chain.name)) + nested(4, *expressions)
            requests.append(_request(family, what, _NEW_RULE, NLM_F_CREATE | NLM_F_APPEND, body))
    return _batch(requests)


def delete_table(family: int, name: str) -> list[Request]:
    """The table goes with all that is in it."""
    body = attribute(1, text(name))
    return _batch([_request(family, "deletion of an nftables table", _DELETE_TABLE, 0, body)])


def _batch(requests: list[Request]) -> list[Request]:
    edge = struct.pack(">BBH", 0, 0, _SUBSYSTEM)
    return [Request("batch", _BATCH_BEGIN, 0, edge), *requests, Request("batch", _BATCH_END, 0, edge)]


def _request(family: int, what: str, kind: int, flags: int, attributes: bytes) -> Request:
    header = struct.pack("=BBH", protocol_family(family), 0, 0)
    return Request(what, kind, flags | NLM_F_ACK, header + attributes)


def protocol_family(family: int) -> int:
    """NFPROTO_IPV4 or NFPROTO_IPV6."""
    return 2 if family == AF_INET else 10


# what a packet is


def is_loopback(family: int) -> list[bytes]:
    """Its destination is 127.0.0.0/8 or ::1."""
    if family == AF_INET:
        return [destination(family, 1), compare(EQUAL, b"\x7f")]
    return [destination(family, 16), compare(EQUAL, _V6_LOOPBACK)]


def is_foreign(family: int, own_addresses: tuple[bytes, ...]) -> list[bytes]:
    """Its destination is neither loopback, nor multicast or broadcast, nor of the (packed) own ones."""
    if family == AF_INET:
        tests = [destination(family, 1), compare(NOT_EQUAL, b"\x7f"), _masked(b"\xf0")]
        tests.append(compare(NOT_EQUAL, b"\xe0"))
    else:
        tests = [destination(family, 1), compare(NOT_EQUAL, b"\xff")]
        tests += [destination(family, 16), compare(NOT_EQUAL, _V6_LOOPBACK)]
    tests.append(destination(family, len(own_addresses[0])))
    others = [_BROADCAST] if family == AF_INET else []
    return tests + [compare(NOT_EQUAL, address) for address in (*own_addresses, *others)]


def is_to(family: int, address: bytes, protocol: int, port: int) -> list[bytes]:
    """For that packed address and port, by TCP or UDP."""
    return [
        destination(family, len(address)),
        compare(EQUAL, address),
        *is_protocol(protocol),
        _payload(_TRANSPORT_HEADER, 2, 2),
        compare(EQUAL, struct.pack(">H", port)),
    ]


def is_protocol(protocol: int) -> list[bytes]:
    return [_meta(_META_L4PROTO), compare(EQUAL, bytes([protocol]))]


def is_first_of_tcp() -> list[bytes]:
    """Of a TCP connection the first packet: SYN, and neither ACK, RST nor FIN."""
    flags = _payload(_TRANSPORT_HEADER, 13, 1)
    return [*is_protocol(TCP), flags, _masked(b"\x17"), compare(EQUAL, b"\x02")]


def is_echo_request(family: int) -> list[bytes]:
    """`ping`: ICMP of type 8, ICMPv6 of type 128."""
    protocol, kind = (1, 8) if family == AF_INET else (58, 128)
    return [
        *is_protocol(protocol),
        _payload(_TRANSPORT_HEADER, 0, 1),
        compare(EQUAL, bytes([kind])),
    ]


def is_marked(mark: int, mask: int = 0xFFFFFFFF) -> list[bytes]:
    value, bits = struct.pack("=I", mark), struct.pack("=I", mask)
    return [_meta(_META_MARK), _masked(bits), compare(EQUAL, value)]


def is_for_a_socket() -> list[bytes]:
    """`wildcard` is 0 or 1 where a socket is found, and ends the rule where none is."""
    wildcard = _expression("socket", attribute(1, be32(_SOCKET_WILDCARD)), attribute(2, be32(1)))
    return [wildcard, compare(LESS_OR_EQUAL, b"\x01")]


# what becomes of it


def to_port(family: int, port: int) -> list[bytes]:
    """tproxy to the transparent socket of that port."""
    tproxy = _expression("tproxy", attribute(1, be32(protocol_family(family))), attribute(3, be32(1)))
    return [_expression("immediate", attribute(1, be32(1)), _data(2, struct.pack(">H", port))), tproxy]


def redirect_to(port: int) -> list[bytes]:
    """To that port of loopback; conntrack remembers the destination that was meant."""
    redirect = _expression("redir", attribute(1, be32(1)))
    return [_expression("immediate", attribute(1, be32(1)), _data(2, struct.pack(">H", port))), redirect]


def untracked() -> list[bytes]:
    """No business of conntrack's."""
    return [_expression("notrack")]


def accept() -> list[bytes]:
    return _verdict(ACCEPT)


def drop() -> list[bytes]:
    return _verdict(DROP)


def _verdict(code: int) -> list[bytes]:
    return [_expression("immediate", attribute(1, be32(0)), nested(2, nested(2, attribute(1, be32(code)))))]


def to_queue(number: int) -> list[bytes]:
    """Without `bypass`: while nobody reads the queue the packet is dropped."""
    sixteen = (struct.pack(">H", each) for each in (number, 1, 0))
    return [_expression("queue", *(attribute(kind, each) for kind, each in enumerate(sixteen, start=1)))]


def to_queue_of_xtables(number: int) -> list[bytes]:
    """The same for kernels without nft_queue: the target of iptables, as iptables-nft has it."""
    info = struct.pack("=HHHxx", number, 1, 0)
    return [_expression("target", attribute(1, text("NFQUEUE")), attribute(2, be32(3)), attribute(3, info))]


def to_log(group: int) -> list[bytes]:
    """A copy of the whole packet to the reader of that group, at once; the packet itself goes on."""
    parts = (struct.pack(">H", group), None, None, struct.pack(">H", 1))
    return [_expression("log", *(attribute(kind, each) for kind, each in enumerate(parts, start=1) if each))]


def reject_by_reset() -> list[bytes]:
    return [_expression("reject", attribute(1, be32(_REJECT_RESET)))]


def reject_by_icmp(code: int) -> list[bytes]:
    """Destination unreachable, with that code of the rule's family."""
    return [_expression("reject", attribute(1, be32(_REJECT_ICMP)), attribute(2, bytes([code])))]


# the letters


def be32(number: int) -> bytes:
    return struct.pack(">I", number)


def text(value: str) -> bytes:
    return value.encode() + b"\0"


def destination(family: int, length: int) -> bytes:
    """The first bytes of the destination address, into register 1."""
    return _payload(_NETWORK_HEADER, 16 if family == AF_INET else 24, length)


def compare(operator: int, value: bytes) -> bytes:
    return _expression("cmp", attribute(1, be32(1)), attribute(2, be32(operator)), _data(3, value))


def _data(kind: int, value: bytes) -> bytes:
    return nested(kind, attribute(1, value))


def _masked(bits: bytes) -> bytes:
    """Of register 1 these bits alone."""
    registers = (attribute(1, be32(1)), attribute(2, be32(1)), attribute(3, be32(len(bits))))
    return _expression("bitwise", *registers, _data(4, bits), _data(5, bytes(len(bits))))


def _payload(header: int, offset: int, length: int) -> bytes:
    where = (attribute(2, be32(header)), attribute(3, be32(offset)), attribute(4, be32(length)))
    return _expression("payload", attribute(1, be32(1)), *where)


def _meta(key: int) -> bytes:
    return _expression("meta", attribute(1, be32(1)), attribute(2, be32(key)))


def _expression(name: str, *attributes: bytes) -> bytes:
    return nested(1, attribute(1, text(name)), nested(2, *attributes))
