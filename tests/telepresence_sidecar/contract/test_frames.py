from __future__ import annotations

import random

import pytest

from telepresence_sidecar.contract.frames import (
    MAX_PAYLOAD,
    Frame,
    FrameReader,
    FrameType,
    Kind,
    Opening,
    ProtocolError,
    decode_message,
    decode_number,
    encode,
    encode_message,
    encode_number,
)


@pytest.mark.parametrize(
    "opening",
    [
        Opening(Kind.TCP, "orders.shop.svc", 8080, rest=b"GET / HTTP/1.1\r\n"),
        Opening(Kind.INBOUND, "fd00::1", 80, peer_port=50123),
        Opening(Kind.DNS, rest=b"\x00" * 12),
        Opening(Kind.UDP, "10.0.0.1", 65535),
    ],
)
def test_an_opening_survives_the_wire(opening: Opening) -> None:
    assert Opening.decode(opening.encode()) == opening


@pytest.mark.parametrize(
    "payload", [b"", b"\x01\x00", b"\x63\x00\x50\x00\x00\x00", b"\x01\x00\x50\x00\x00\x09abc"]
)
def test_a_malformed_opening_is_a_protocol_error(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        Opening.decode(payload)


def test_a_host_name_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="256 bytes"):
        Opening(Kind.TCP, "h" * 256, 80).encode()


@pytest.mark.parametrize("seed", range(20))
def test_frames_come_out_whole_however_the_bytes_are_cut(seed: int) -> None:
    dice = random.Random(seed)
    frames = [
        Frame(
            dice.choice(list(FrameType)),
            dice.randrange(2**32),
            dice.randbytes(dice.choice([0, 1, 4, 40_000])),
        )
        for _ in range(50)
    ]
    wire = b"".join(encode(frame.type, frame.stream, frame.payload) for frame in frames)
    reader, heard, position = FrameReader(), [], 0
    while position < len(wire):
        step = dice.choice([1, 3, 8, 500, 100_000])
        heard += list(reader.feed(wire[position : position + step]))
        position += step
    assert heard == frames


def test_an_unknown_type_is_a_protocol_error() -> None:
    with pytest.raises(ProtocolError, match="unknown frame type 99"):
        list(FrameReader().feed(b"\x63\x00\x00\x00\x00\x00\x00\x01"))


def test_a_frame_beyond_the_limit_is_refused_before_it_is_read() -> None:
    header = ((FrameType.DATA << 24) | (MAX_PAYLOAD + 1)).to_bytes(4, "big") + bytes(4)
    with pytest.raises(ProtocolError, match="frame of"):
        list(FrameReader().feed(header))


def test_numbers_survive_and_wrong_lengths_do_not() -> None:
    (frame,) = FrameReader().feed(encode_number(FrameType.RESET, 5, 111))
    assert (frame.stream, decode_number(frame.payload)) == (5, 111)
    with pytest.raises(ProtocolError):
        decode_number(b"abc")


def test_a_message_keeps_bytes_that_are_not_utf_8() -> None:
    value = b"caf\xe9".decode("utf-8", "surrogateescape")
    (frame,) = FrameReader().feed(encode_message({"value": value}))
    assert decode_message(frame.payload) == {"value": value}


@pytest.mark.parametrize("payload", [b"[1]", b"{", b"\xff"])
def test_a_message_that_is_no_object_is_a_protocol_error(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_message(payload)
