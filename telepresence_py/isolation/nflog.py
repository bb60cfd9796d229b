"""PURE. Packets that the kernel logs, and how they are sent again: <linux/netfilter/nfnetlink_log.h>."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

from telepresence_py.isolation.netlink import NLM_F_ACK, Request, attribute, attributes, messages

_PACKET = 4 << 8 | 0
_CONFIG = 4 << 8 | 1
_BIND = 1
_COPY_PACKET = 2
_WHOLE = 0xFFFF
"""Bytes of a packet that come along: data may travel with the first one (RFC 7413)."""

_PAYLOAD = 9
_TCP_CHECKSUM = 16


def bind_requests(group: int) -> list[Request]:
    """The socket that sends these is the group's reader, and has each packet at once."""
    parts = (
        ("bind", attribute(1, struct.pack(">BBH", _BIND, 0, 0))),
        ("mode", attribute(2, struct.pack(">IBx", _WHOLE, _COPY_PACKET))),
        ("threshold", attribute(5, struct.pack(">I", 1))),
    )
    head = struct.pack(">BBH", socket.AF_UNSPEC, 0, group)
    return [Request(f"packet log, {what}", _CONFIG, NLM_F_ACK, head + body) for what, body in parts]


def read_logged(datagram: bytes) -> Iterator[bytes]:
    """The IP packets in a datagram of the log's."""
    for kind, _sequence, start, end in messages(datagram):
        if kind == _PACKET:
            yield attributes(datagram[start + 4 : end]).get(_PAYLOAD, b"")


def with_checksum(packet: bytes) -> bytes:
    """The IP packet of a whole TCP segment, with the checksum that `lo` leaves out (RFC 9293, 3.1)."""
    is_v4 = packet[0] >> 4 == 4
    tcp = (packet[0] & 15) * 4 if is_v4 else 40
    addresses = packet[12:20] if is_v4 else packet[8:40]
    segment = bytearray(packet[tcp:])
    segment[_TCP_CHECKSUM : _TCP_CHECKSUM + 2] = b"\0\0"
    pseudo = addresses + struct.pack(">II", len(segment), socket.IPPROTO_TCP)
    segment[_TCP_CHECKSUM : _TCP_CHECKSUM + 2] = struct.pack(">H", _checksum(pseudo + segment))
    return packet[:tcp] + bytes(segment)


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f">{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
