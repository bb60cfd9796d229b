from __future__ import annotations

import random
import socket
import struct

import pytest

from telepresence_py.forward.packets import Endpoint, checksum, endpoint_of, udp_packet, unreachable_packet

POD4, DNS4 = Endpoint("10.244.1.7", 40000), Endpoint("10.96.0.10", 53)
POD6, DNS6 = Endpoint("fd00::7", 40000), Endpoint("fd00:1::a", 53)


def sum_word_by_word(data: bytes) -> int:
    """RFC 1071 as it is written, to compare with."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def test_an_ipv4_packet_has_the_foreign_source_and_its_checksum_left_to_the_kernel() -> None:
    packet = udp_packet(DNS4, POD4, b"answer")
    assert packet[0] == 0x45
    assert packet[9] == socket.IPPROTO_UDP
    assert packet[12:16] == socket.inet_aton("10.96.0.10")
    assert packet[16:20] == socket.inet_aton("10.244.1.7")
    assert struct.unpack(">HHHH", packet[20:28]) == (53, 40000, 8 + 6, 0)
    assert packet[28:] == b"answer"


def test_an_ipv6_packet_sums_to_zero_with_its_pseudo_header() -> None:
    for payload in (b"", b"a", b"answer", random.Random(1).randbytes(60_001)):
        packet = udp_packet(DNS6, POD6, payload)
        version, length, following, hops = struct.unpack(">IHBB", packet[:8])
        assert (version, length, following, hops) == (6 << 28, 8 + len(payload), 17, 64)
        assert packet[8:24] == socket.inet_pton(socket.AF_INET6, "fd00:1::a")
        pseudo = packet[8:40] + struct.pack(">II", length, 17)
        assert sum_word_by_word(pseudo + packet[40:]) == 0
        assert packet[48:] == payload


def test_an_ipv6_checksum_that_comes_out_as_zero_is_sent_as_its_other_form() -> None:
    without = udp_packet(DNS6, POD6, b"\0\0")
    (wanted,) = struct.unpack(">H", without[46:48])
    packet = udp_packet(DNS6, POD6, struct.pack(">H", wanted))
    assert packet[46:48] == b"\xff\xff"


def test_the_checksum_is_that_of_rfc_1071() -> None:
    chance = random.Random(2)
    for data in (
        b"",
        b"\0\0",
        b"\xff\xff",
        b"\xff\xff\xff\xff",
        b"\x01",
        *map(chance.randbytes, range(1, 200)),
    ):
        assert checksum(data) == sum_word_by_word(data), data


@pytest.mark.parametrize(("source", "destination"), [(DNS4, POD4), (DNS6, POD6)])
def test_a_datagram_that_cannot_fit_is_an_error(source: Endpoint, destination: Endpoint) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        udp_packet(source, destination, b"x" * 65_536)


def test_families_do_not_mix() -> None:
    with pytest.raises(ValueError, match="not of one family"):
        udp_packet(DNS4, POD6, b"x")


@pytest.mark.parametrize(
    ("sockaddr", "endpoint"),
    [
        (("10.0.0.1", 80), Endpoint("10.0.0.1", 80)),
        (("fe80::1%eth0", 80, 0, 2), Endpoint("fe80::1", 80)),
        (("::ffff:10.0.0.1", 80, 0, 0), Endpoint("10.0.0.1", 80)),
        (("::ffff:a00:1", 80, 0, 0), Endpoint("::ffff:a00:1", 80)),
    ],
)
def test_socket_addresses_lose_scope_and_mapping(sockaddr: tuple[object, ...], endpoint: Endpoint) -> None:
    assert endpoint_of(sockaddr) == endpoint


def test_a_refusal_of_ipv4_quotes_the_datagram_and_sums_to_zero() -> None:
    packet = unreachable_packet(POD4, DNS4)
    assert (packet[0], packet[9]) == (0x45, socket.IPPROTO_ICMP)
    assert packet[12:20] == socket.inet_aton("10.96.0.10") + socket.inet_aton("10.244.1.7")
    assert tuple(packet[20:22]) == (3, 3)
    assert sum_word_by_word(packet[20:]) == 0
    quoted = packet[28:]
    assert quoted[12:20] == socket.inet_aton("10.244.1.7") + socket.inet_aton("10.96.0.10")
    assert struct.unpack(">HH", quoted[20:24]) == (40000, 53)


def test_a_refusal_of_ipv6_sums_to_zero_with_its_pseudo_header() -> None:
    packet = unreachable_packet(POD6, DNS6)
    _, length, following, _ = struct.unpack(">IHBB", packet[:8])
    assert (length, following) == (len(packet) - 40, socket.IPPROTO_ICMPV6)
    assert tuple(packet[40:42]) == (1, 4)
    assert sum_word_by_word(packet[8:40] + struct.pack(">II", length, following) + packet[40:]) == 0
    assert packet[48:] == udp_packet(POD6, DNS6, b"")


def test_a_refusal_between_families_is_none() -> None:
    with pytest.raises(ValueError, match="family"):
        unreachable_packet(POD4, DNS6)
