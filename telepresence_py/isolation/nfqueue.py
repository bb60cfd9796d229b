"""PURE. What is said to the kernel's packet queue, and what comes of it: <linux/netfilter/nfnetlink_queue.h>.

Only the first packets of TCP connections come here (`holding`), so an IPv6 packet has no extension headers:
it is our own kernel that made it.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

from telepresence_py.isolation.netlink import NLM_F_ACK, Request, attribute, attributes, message, messages
from telepresence_py.model.world import HeldSyn

_PACKET = 3 << 8 | 0
_VERDICT = 3 << 8 | 1
_CONFIG = 3 << 8 | 2
_BIND = 1
_COPY_PACKET = 2
_COPIED = 120
"""Bytes of a packet that come along: IPv6 and TCP, both with all that they may have here."""

_GSO = 4
"""Leaves checksums to whoever needs them: on `lo` they are not computed."""

_DROP, _ACCEPT = 0, 1
_PACKET_ID, _PACKET_MARK, _PACKET_PAYLOAD = 1, 3, 10


def bind_requests(queue: int, most: int) -> list[Request]:
    """The socket that sends these is the queue's reader; up to `most` packets wait for their verdict."""
    parts = (
        ("bind", attribute(1, struct.pack(">BBH", _BIND, 0, 0))),
        ("mode", attribute(2, struct.pack(">IB", _COPIED, _COPY_PACKET))),
        ("length", attribute(3, struct.pack(">I", most))),
        ("flags", attribute(4, struct.pack(">I", _GSO)) + attribute(5, struct.pack(">I", _GSO))),
    )
    head = _head(queue)
    return [Request(f"packet queue, {what}", _CONFIG, NLM_F_ACK, head + body) for what, body in parts]


def read_packets(datagram: bytes) -> Iterator[HeldSyn]:
    """The packets in a datagram of the queue's. What is no TCP packet is passed over, and stays queued."""
    for kind, _sequence, start, end in messages(datagram):
        if kind == _PACKET:
            parts = attributes(datagram[start + 4 : end])
            syn = parse_syn(int.from_bytes(parts[_PACKET_ID][:4], "big"), parts.get(_PACKET_PAYLOAD, b""))
            if syn is not None:
                yield syn


def let_go(queue: int, packet: int, mark: int | None = None) -> bytes:
    """The packet goes on, marked or as it was. Not answered."""
    marked = b"" if mark is None else attribute(_PACKET_MARK, struct.pack(">I", mark))
    return _verdict(queue, packet, _ACCEPT, marked)


def drop(queue: int, packet: int) -> bytes:
    """The packet was never there. Not answered."""
    return _verdict(queue, packet, _DROP, b"")


def _verdict(queue: int, packet: int, code: int, more: bytes) -> bytes:
    body = _head(queue) + attribute(2, struct.pack(">II", code, packet)) + more
    return message(_VERDICT, 0, body)


def _head(queue: int) -> bytes:
    return struct.pack(">BBH", socket.AF_UNSPEC, 0, queue)


def parse_syn(packet: int, ip: bytes) -> HeldSyn | None:
    """The first packet of a connection, which has that number; None for what is no TCP packet (RFC 791 or RFC
    8200, and RFC 9293)."""
    if not ip:
        return None
    if ip[0] >> 4 == 4:
        family, addresses, tcp = socket.AF_INET, 12, (ip[0] & 15) * 4
    else:
        family, addresses, tcp = socket.AF_INET6, 8, 40
    size = 4 if family == socket.AF_INET else 16
    if len(ip) < tcp + 8:
        return None
    child_port, port, sequence = struct.unpack_from(">HHI", ip, tcp)
    child = socket.inet_ntop(family, ip[addresses : addresses + size])
    destination = socket.inet_ntop(family, ip[addresses + size : addresses + 2 * size])
    return HeldSyn((child, child_port), (destination, port), sequence, packet)
