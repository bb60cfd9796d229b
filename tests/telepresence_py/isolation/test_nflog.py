"""That the kernel takes what is said to its log, and what is sent again, is shown in test_syn_queue."""

from __future__ import annotations

import socket
import struct

import pytest

from telepresence_py.isolation.nflog import read_logged, with_checksum
from telepresence_py.isolation.nfqueue import parse_syn

V4 = bytes.fromhex("450000280000400040060000c0a80102c0a80103")
SYN = struct.pack(">HHIIBBHHH", 40000, 80, 1, 0, 0x50, 0x02, 65535, 0xBEEF, 0)
V6 = (
    struct.pack(">IHBB", 0x60000000, 20, 6, 64)
    + socket.inet_pton(10, "fd00::2")
    + socket.inet_pton(10, "fd00::3")
)


def ones_complement(data: bytes) -> int:
    total = 0
    for number in range(0, len(data), 2):
        total += int.from_bytes(data[number : number + 2].ljust(2, b"\0"), "big")
        total = (total & 0xFFFF) + (total >> 16)
    return total


@pytest.mark.parametrize(("header", "addresses"), [(V4, V4[12:]), (V6, V6[8:])])
@pytest.mark.parametrize("data", [b"", b"x", b"xy", bytes(range(99)), b"\xff" * 98])
def test_a_receiver_finds_the_checksum_right(header: bytes, addresses: bytes, data: bytes) -> None:
    packet = with_checksum(header + SYN + data)
    segment = packet[len(header) :]
    pseudo = addresses + struct.pack(">IHBB", len(segment), 0, 0, 6)
    assert ones_complement(pseudo + segment) == 0xFFFF
    assert (packet[: len(header)], segment[:16], segment[18:]) == (header, SYN[:16], SYN[18:] + data)


def test_each_packet_of_a_datagram_is_read_and_other_messages_are_passed_over() -> None:
    def message(kind: int, body: bytes) -> bytes:
        return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body

    def logged(packet: bytes) -> bytes:
        return message(0x400, bytes(4) + struct.pack("=HH", 4 + len(packet), 9) + packet)

    first, second = V4 + SYN, V6 + SYN
    assert list(read_logged(logged(first) + message(3, bytes(4)) + logged(second))) == [first, second]
    assert list(read_logged(message(0x400, bytes(4)))) == [b""]
    assert parse_syn(1, b"") is None
