"""PURE. What the kernel is asked about TCP sockets, and its answers: sock_diag(7), <linux/inet_diag.h>.

A request for one socket names both its ends; where no such connection is, the kernel answers with the socket
that listens for it. Addresses of IPv4 are asked for as IPv4 also when the listener is one of IPv6.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

from telepresence_py.isolation.netlink import NLMSG_ERROR, message, messages

ESTABLISHED = 1
SYN_SENT = 2
SYN_RECEIVED = 3
LISTENING = 10
"""Of enum tcp_state in <net/tcp_states.h>."""

_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_DUMP = 0x300
_NLMSG_DONE = 3

_REQUEST = struct.Struct("=BBBBI")
_ENDS = struct.Struct(">HH16s16s")
_INTERFACE_AND_COOKIE = struct.Struct("=IQ")
_ANY_COOKIE = _INTERFACE_AND_COOKIE.pack(0, (1 << 64) - 1)
_ALL_STATES = 0xFFFFFFFF
_MAPPED = bytes(10) + b"\xff\xff"
# family, state, timer, retransmissions; ports; addresses; interface, cookie; expiry, queues, user, inode
_ANSWER = struct.Struct("=BBBB2s2s16s16sIQIIIII")

End = tuple[str, int]
"""An IP address in text, and a port."""


class SocketRow(NamedTuple):
    """`inode` is 0 while, or since, no process owns the socket. Of a listener `queue` counts those that wait
    to be accepted; it is full once they are more than `queue_limit`."""

    state: int
    port: int
    peer_port: int
    cookie: int
    queue: int
    queue_limit: int
    inode: int


class Answers(NamedTuple):
    """A datagram of the kernel's. `errno` of the refusal, else 0; `is_last` ends a dump."""

    rows: tuple[SocketRow, ...]
    errno: int
    is_last: bool


def connection_request(own: End, peer: End) -> bytes:
    """For the one socket with these ends; answered by a single row, or ENOENT."""
    family = socket.AF_INET6 if ":" in own[0] else socket.AF_INET
    ends = _ENDS.pack(own[1], peer[1], socket.inet_pton(family, own[0]), socket.inet_pton(family, peer[0]))
    return _request(family, _ALL_STATES, ends, 0)


def listeners_request(family: int) -> bytes:
    """For all sockets of the family that listen; answered by a dump."""
    return _request(family, 1 << LISTENING, bytes(_ENDS.size), _NLM_F_DUMP)


def _request(family: int, states: int, ends: bytes, flags: int) -> bytes:
    body = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, states) + ends + _ANY_COOKIE
    return message(_SOCK_DIAG_BY_FAMILY, flags, body)


def read_answers(datagram: bytes) -> Answers:
    """The rows of a datagram, and what it says of the request."""
    rows: list[SocketRow] = []
    for kind, _sequence, start, _end in messages(datagram):
        if kind == NLMSG_ERROR:
            (negative_errno,) = struct.unpack_from("=i", datagram, start)
            return Answers(tuple(rows), -negative_errno, True)
        if kind == _NLMSG_DONE:
            return Answers(tuple(rows), 0, True)
        _, state, _, _, port, peer_port, _, _, _, cookie, _, queue, limit, _, inode = _ANSWER.unpack_from(
            datagram, start
        )
        ports = int.from_bytes(port, "big"), int.from_bytes(peer_port, "big")
        rows.append(SocketRow(state, *ports, cookie, queue, limit, inode))
    return Answers(tuple(rows), 0, False)


def read_destroyed(datagram: bytes) -> Iterator[tuple[End, End]]:
    """The ends, own and peer, of the sockets that are told to be gone. IPv4 over a socket of IPv6 is IPv4."""
    for kind, _sequence, start, _end in messages(datagram):
        if kind == _SOCK_DIAG_BY_FAMILY and start + _ANSWER.size <= len(datagram):
            family, _, _, _, port, peer_port, own, peer, *_ = _ANSWER.unpack_from(datagram, start)
            ports = int.from_bytes(port, "big"), int.from_bytes(peer_port, "big")
            yield (_address(family, own), ports[0]), (_address(family, peer), ports[1])


def _address(family: int, packed: bytes) -> str:
    if family == socket.AF_INET:
        return socket.inet_ntop(socket.AF_INET, packed[:4])
    if packed.startswith(_MAPPED):
        return socket.inet_ntop(socket.AF_INET, packed[len(_MAPPED) :])
    return socket.inet_ntop(socket.AF_INET6, packed)
