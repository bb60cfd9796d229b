"""The bytes of sock_diag, against what <linux/inet_diag.h> says of them."""

from __future__ import annotations

import socket
import struct

from telepresence_py.isolation.sock_diag import (
    LISTENING,
    Answers,
    SocketRow,
    connection_request,
    listeners_request,
    read_answers,
    read_destroyed,
)

REFUSED = struct.pack("=IHHIIi", 36, 2, 0, 0, 0, -2) + bytes(16)
DONE = struct.pack("=IHHIIi", 20, 3, 2, 0, 0, 0)


def answer(state: int, port: int, peer_port: int, more: bytes = b"", **fields: int) -> bytes:
    """struct nlmsghdr, struct inet_diag_msg, attributes"""
    body = struct.pack("=BBBB", 2, state, 0, 0) + struct.pack(">HH", port, peer_port) + bytes(32)
    body += struct.pack("=IQ", 0, fields["cookie"])
    body += struct.pack("=IIIII", 0, fields["queue"], fields["limit"], 1000, fields["inode"]) + more
    return struct.pack("=IHHII", 16 + len(body), 20, 0, 0, 0) + body + bytes(-len(body) % 4)


def test_a_request_names_both_ends_and_no_cookie() -> None:
    request = connection_request(("10.244.1.7", 8080), ("127.0.0.1", 40000))
    assert struct.unpack_from("=IHHII", request) == (72, 20, 1, 0, 0)
    assert request[16:24] == bytes([2, 6, 0, 0, 255, 255, 255, 255])
    assert request[24:28] == struct.pack(">HH", 8080, 40000)
    assert request[28:44] == bytes([10, 244, 1, 7]) + bytes(12)
    assert request[44:60] == bytes([127, 0, 0, 1]) + bytes(12)
    assert request[60:] == bytes(4) + b"\xff" * 8


def test_the_family_is_that_of_the_addresses() -> None:
    request = connection_request(("fd00::7", 1), ("::1", 2))
    assert request[16] == 10
    assert request[28:44] == b"\xfd" + bytes(14) + b"\x07"


def test_listeners_are_asked_for_by_a_dump_of_their_state_alone() -> None:
    request = listeners_request(2)
    assert struct.unpack_from("=IHHII", request) == (72, 20, 0x301, 0, 0)
    assert struct.unpack_from("=I", request, 20) == (1 << LISTENING,)


def test_rows_are_read_whatever_attributes_follow() -> None:
    first = answer(1, 8080, 40000, b"\x05\x00\x08\x00\x01", cookie=1 << 40, queue=1, limit=2, inode=77)
    second = answer(10, 80, 0, cookie=2, queue=0, limit=5, inode=0)
    assert read_answers(first + second + DONE) == Answers(
        (SocketRow(1, 8080, 40000, 1 << 40, 1, 2, 77), SocketRow(10, 80, 0, 2, 0, 5, 0)), 0, True
    )
    assert not read_answers(first).is_last


def test_a_refusal_is_its_errno() -> None:
    assert read_answers(REFUSED) == Answers((), 2, True)


def test_a_socket_that_is_gone_is_told_by_its_ends_and_ipv4_is_ipv4() -> None:
    told = []
    for family, own, peer in (
        (socket.AF_INET, "10.244.1.7", "10.96.0.10"),
        (socket.AF_INET6, "fd00::7", "fd00:96::a"),
        (socket.AF_INET6, "::ffff:10.244.1.7", "::ffff:10.96.0.10"),
    ):
        ends = b"".join(socket.inet_pton(family, each).ljust(16, b"\0") for each in (own, peer))
        gone = bytearray(answer(7, 40000, 80, cookie=1, queue=0, limit=0, inode=0))
        gone[16], gone[24:56] = family, ends
        told += read_destroyed(bytes(gone))
    v4 = ("10.244.1.7", 40000), ("10.96.0.10", 80)
    assert told == [v4, (("fd00::7", 40000), ("fd00:96::a", 80)), v4]
    assert list(read_destroyed(DONE)) == []
