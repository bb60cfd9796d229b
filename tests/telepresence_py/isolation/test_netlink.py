from __future__ import annotations

import errno
import struct

from telepresence_py.isolation.netlink import (
    NLM_F_ACK,
    Answer,
    Request,
    add_address,
    add_anyip_route,
    answers,
    attribute,
    nested,
    numbered,
)

V4 = bytes([10, 244, 1, 7])
V6 = bytes(15) + b"\x07"


def test_attributes_are_padded_but_their_length_is_not() -> None:
    assert attribute(3, b"lo\0") == struct.pack("=HH", 7, 3) + b"lo\0\0"
    assert nested(18, attribute(1, b"abcd")) == struct.pack("=HHHH", 12, 18 | 0x8000, 8, 1) + b"abcd"


def test_requests_are_numbered_in_their_order() -> None:
    wire = numbered([Request("first", 16, NLM_F_ACK, b"1234"), Request("second", 20, 0, b"")])
    assert struct.unpack_from("=IHHII", wire) == (20, 16, 5, 0, 0)
    assert struct.unpack_from("=IHHII", wire, 20) == (16, 20, 1, 1, 0)
    assert len(wire) == 36


def test_answers_tell_consent_and_refusal_by_number() -> None:
    def answer(sequence: int, negative_errno: int) -> bytes:
        return struct.pack("=IHHIIi", 36, 2, 0, sequence, 0, negative_errno) + bytes(16)

    other = struct.pack("=IHHII", 18, 16, 0, 9, 0) + b"xx" + bytes(2)
    found = answers(answer(0, 0) + other + answer(1, -errno.EPERM))
    assert found == [Answer(0, 0), Answer(1, errno.EPERM)]


def test_an_address_is_the_only_one_of_its_prefix() -> None:
    assert add_address(2, V4).body[:8] == struct.pack("=BBBBI", 2, 32, 2, 0, 2)
    assert add_address(2, V6).body[:8] == struct.pack("=BBBBI", 10, 128, 2, 0, 2)


def test_the_route_tells_its_source() -> None:
    """Else the source would be the destination itself."""
    assert add_anyip_route(1, V4).body.endswith(attribute(7, V4))
    assert add_anyip_route(1, V6).body.endswith(attribute(7, V6))
