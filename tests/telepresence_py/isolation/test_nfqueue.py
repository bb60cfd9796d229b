"""That the kernel takes these is shown in test_syn_queue."""

from __future__ import annotations

import socket
import struct

from telepresence_py.isolation.netlink import answers, attribute
from telepresence_py.isolation.nfqueue import bind_requests, drop, let_go, read_packets
from telepresence_py.model.world import HeldSyn

TCP = struct.pack(">HHIIBBHHH", 40000, 443, 0xDEADBEEF, 0, 0x50, 2, 64240, 0, 0)


def v4(options: bytes = b"") -> bytes:
    words = 5 + len(options) // 4
    header = struct.pack(">BBHHHBBH", 0x40 | words, 0, 20 + len(TCP), 0, 0, 64, 6, 0)
    return header + socket.inet_aton("10.244.1.7") + socket.inet_aton("10.96.0.10") + options + TCP


def v6() -> bytes:
    ends = socket.inet_pton(socket.AF_INET6, "fd00::7") + socket.inet_pton(socket.AF_INET6, "fd00:96::a")
    return struct.pack(">IHBB", 6 << 28, len(TCP), 6, 64) + ends + TCP


def queued(packet: int, ip: bytes, kind: int = 0x300) -> bytes:
    body = bytes(4) + attribute(1, struct.pack(">IHB", packet, 0x0800, 0)) + attribute(10, ip)
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 0, 0) + body


def test_a_packet_tells_its_ends_and_its_sequence_number() -> None:
    assert list(read_packets(queued(7, v4()) + queued(8, v6()))) == [
        HeldSyn(("10.244.1.7", 40000), ("10.96.0.10", 443), 0xDEADBEEF, 7),
        HeldSyn(("fd00::7", 40000), ("fd00:96::a", 443), 0xDEADBEEF, 8),
    ]


def test_options_of_the_header_are_passed_over() -> None:
    (syn,) = read_packets(queued(7, v4(bytes(8))))
    assert (syn.destination, syn.sequence) == (("10.96.0.10", 443), 0xDEADBEEF)


def test_what_is_no_packet_or_too_short_for_one_is_passed_over() -> None:
    noise = queued(1, v4(), kind=2) + queued(2, b"") + queued(3, v4()[:24]) + queued(4, v6()[:44])
    assert list(read_packets(noise)) == []
    assert list(read_packets(queued(5, v4())[:30] + b"\1")) == []


def test_a_verdict_names_the_packet_what_becomes_of_it_and_its_mark() -> None:
    for verdict, code, mark in (
        (drop(0, 9), 0, b""),
        (let_go(0, 9), 1, b""),
        (let_go(0, 9, 0x54501), 1, attribute(3, struct.pack(">I", 0x54501))),
    ):
        length, kind = struct.unpack_from("=IH", verdict)
        assert (length, kind) == (len(verdict), 0x301)
        assert verdict[20:] == attribute(2, struct.pack(">II", code, 9)) + mark
        assert answers(verdict) == []


def test_the_reader_of_a_queue_is_told_whether_it_became_it() -> None:
    assert all(request.is_answered for request in bind_requests(0, 1024))
