"""PURE. Netlink messages as bytes: the few of rtnetlink that an interface, an address and a route take.

Layouts are those of <linux/netlink.h>, <linux/rtnetlink.h> and <linux/if_link.h>. Addresses are packed: four
bytes are IPv4, sixteen IPv6. Nothing here opens a socket; `netlink_socket` sends what is built here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

AF_INET = 2
AF_INET6 = 10

NLM_F_REQUEST = 0x001
NLM_F_ACK = 0x004
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_APPEND = 0x800
_NLA_F_NESTED = 0x8000
NLMSG_ERROR = 2

_RTM_NEWLINK = 16
_RTM_NEWADDR = 20
_RTM_NEWROUTE = 24
_IFF_UP = 1
_IFA_F_NODAD = 2
_SCOPE_HOST = 254
_TABLE_LOCAL = 255
_PROTOCOL_BOOT = 3
_TYPE_LOCAL = 2

_HEADER = struct.Struct("=IHHII")


class Request(NamedTuple):
    """One message before it is numbered; `what` names it in errors. An answer is expected if ACK is set."""

    what: str
    kind: int
    flags: int
    body: bytes

    @property
    def is_answered(self) -> bool:
        return bool(self.flags & NLM_F_ACK)


class Answer(NamedTuple):
    """The kernel's word on the message of that sequence number; errno 0 is consent."""

    sequence: int
    errno: int


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    return struct.pack("=HH", len(value) + 4, kind) + value + bytes(-len(value) % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | _NLA_F_NESTED, b"".join(attributes))


def family_of(packed: bytes) -> int:
    return AF_INET if len(packed) == 4 else AF_INET6


def numbered(requests: Sequence[Request]) -> bytes:
    """The requests as one datagram, with sequence numbers from 0 on in their order."""
    return b"".join(message(r.kind, r.flags, r.body, sequence) for sequence, r in enumerate(requests))


def message(kind: int, flags: int, body: bytes, sequence: int = 0) -> bytes:
    """A whole request; NLM_F_REQUEST goes without saying."""
    return _HEADER.pack(_HEADER.size + len(body), kind, flags | NLM_F_REQUEST, sequence, 0) + body


def messages(datagram: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Of each message in a datagram of the kernel: kind, sequence number, where its body begins and ends."""
    start = 0
    while start + _HEADER.size <= len(datagram):
        length, kind, _flags, sequence, _port = _HEADER.unpack_from(datagram, start)
        yield kind, sequence, start + _HEADER.size, min(start + length, len(datagram))
        start += max(_HEADER.size, (length + 3) & ~3)


def attributes(packed: bytes) -> dict[int, bytes]:
    """What stands in them, by kind, whatever flags the kinds have."""
    found, start = {}, 0
    while start + 4 <= len(packed):
        length, kind = struct.unpack_from("=HH", packed, start)
        found[kind & 0x3FFF] = packed[start + 4 : start + length]
        start += max(4, (length + 3) & ~3)
    return found


def answers(datagram: bytes) -> list[Answer]:
    """The acknowledgements and errors in a datagram of the kernel; other messages are passed over."""
    found = []
    for kind, sequence, start, _end in messages(datagram):
        if kind == NLMSG_ERROR:
            (negative_errno,) = struct.unpack_from("=i", datagram, start)
            found.append(Answer(sequence, -negative_errno))
    return found


def _link(index: int, flags: int, change: int) -> bytes:
    return struct.pack("=BxHiII", 0, 0, index, flags, change)


def add_link(name: str, kind: str) -> Request:
    """`ip link add NAME type KIND`"""
    body = _link(0, 0, 0) + attribute(3, name.encode() + b"\0") + nested(18, attribute(1, kind.encode()))
    return Request(
        f"interface {name} of type {kind}", _RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, body
    )


def set_link_up(index: int) -> Request:
    """`ip link set dev INDEX up`"""
    return Request(f"interface {index} up", _RTM_NEWLINK, NLM_F_ACK, _link(index, _IFF_UP, _IFF_UP))


def add_address(index: int, packed: bytes) -> Request:
    """`ip addr add ADDRESS/32 dev INDEX`, or /128 and usable at once (nodad)"""
    header = struct.pack("=BBBBI", family_of(packed), len(packed) * 8, _IFA_F_NODAD, 0, index)
    body = header + attribute(2, packed) + attribute(1, packed)
    return Request("address", _RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, body)


def add_anyip_route(loopback_index: int, source: bytes) -> Request:
    """`ip route add local default dev lo src SOURCE table local`: every address is ours.

    The source must be told: on local routes it would else be the destination itself.
    """
    family = family_of(source)
    scope = _SCOPE_HOST if family == AF_INET else 0
    header = struct.pack("=BBBBBBBBI", family, 0, 0, 0, _TABLE_LOCAL, _PROTOCOL_BOOT, scope, _TYPE_LOCAL, 0)
    body = header + attribute(4, struct.pack("=I", loopback_index)) + attribute(7, source)
    return Request("local default route", _RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, body)
