"""Both ways of a port-forward's messages, byte by byte."""

from __future__ import annotations

import struct
import zlib

import pytest

from telepresence_py.tunnel.speeches import Channels, Spdy

ERRORS, DATA = 1, 3
FIN = 1


class Hearing:
    def __init__(self) -> None:
        self.bytes = b""
        self.told: list[object] = []

    def data(self, data: bytes) -> None:
        self.bytes += data

    def failed(self, text: str) -> None:
        self.told.append(text)

    def ended(self) -> None:
        self.told.append("ended")

    def reply(self, message: bytes) -> None:
        self.told.append(message)


def frame(stream: int, data: bytes, flags: int = 0) -> bytes:
    return struct.pack("!II", stream, flags << 24 | len(data)) + data


def control(kind: int, body: bytes) -> bytes:
    return struct.pack("!HHI", 0x8003, kind, len(body)) + body


def test_both_streams_are_asked_for_with_their_kind_and_port() -> None:
    message, inflate = Spdy(17022, Hearing()).opening, zlib.decompressobj()
    asked = []
    while message:
        version, kind, word = struct.unpack_from("!HHI", message)
        body, message = message[8 : 8 + (word & 0xFFFFFF)], message[8 + (word & 0xFFFFFF) :]
        block = inflate.decompress(body[10:])
        words, position = [], 4
        while position < len(block):
            (size,) = struct.unpack_from("!I", block, position)
            words.append(block[position + 4 : position + 4 + size])
            position += 4 + size
        assert len(words) == 2 * struct.unpack_from("!I", block)[0]
        asked.append((version, kind, word >> 24, body[:4], dict(zip(words[::2], words[1::2], strict=True))))
    headers = {b"port": b"17022", b"requestid": b"0"}
    assert asked == [
        (0x8003, 1, FIN, b"\0\0\0\1", {b"streamtype": b"error", **headers}),
        (0x8003, 1, 0, b"\0\0\0\3", {b"streamtype": b"data", **headers}),
    ]


@pytest.mark.parametrize("passing", [False, True], ids=["all is read", "data passes"])
@pytest.mark.parametrize("cut", [1, 3, 7, 8, 9, 100, 10_000])
def test_spdy_is_understood_however_it_is_cut_into_messages(cut: int, passing: bool) -> None:
    hearing = Hearing()
    speech = Spdy(1, hearing)
    ping = control(6, b"\0\0\0\2")
    said = b"".join(
        [
            control(2, b"\0\0\0\1" + b"reply"),
            frame(DATA, b"one "),
            ping,
            frame(DATA, b"two " * 50),
            control(9, b"\0\0\0\3\0\1\0\0"),
            frame(ERRORS, b"", FIN),
            frame(DATA, b""),
            frame(DATA, b"three"),
        ]
    )
    for start in range(0, len(said), cut):
        message = said[start : start + cut]
        if passing and speech.passes(len(message)):
            hearing.data(message)
        else:
            speech.heard(memoryview(message), continued=start % 2 == 1)
    assert hearing.bytes == b"one " + b"two " * 50 + b"three"
    assert hearing.told == [ping]


def test_only_what_is_data_through_and_through_passes() -> None:
    speech = Spdy(1, Hearing())
    assert not speech.passes(1)
    speech.heard(memoryview(frame(DATA, b"12345")[:9]), continued=False)
    assert not speech.passes(5)
    assert speech.passes(4)
    assert not speech.passes(1)
    speech.heard(memoryview(frame(ERRORS, b"refused")[:9]), continued=False)
    assert not speech.passes(6)


def test_the_error_stream_s_text_is_told() -> None:
    hearing = Hearing()
    Spdy(1, hearing).heard(memoryview(frame(ERRORS, b"connection refused\n")), continued=False)
    assert hearing.told == ["connection refused"]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (frame(DATA, b"", FIN), "ended"),
        (control(7, b"\0\0\0\3\0\0\0\0"), "ended"),
        (control(3, b"\0\0\0\3\0\0\0\5"), "the node has reset the port-forward"),
    ],
    ids=["the data's end", "going away", "a reset"],
)
def test_the_end_is_told(said: bytes, told: str) -> None:
    hearing = Hearing()
    Spdy(1, hearing).heard(memoryview(said), continued=False)
    assert hearing.told == [told]


def test_data_goes_out_as_a_frame_of_the_data_stream() -> None:
    assert Spdy(1, Hearing()).prefix(5) + b"hello" == frame(DATA, b"hello")


def test_data_goes_out_on_channel_0() -> None:
    assert Channels(Hearing()).prefix(5) == b"\0"
