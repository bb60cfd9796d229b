from __future__ import annotations

import pytest

from telepresence_sidecar.contract.frames import ProtocolError
from telepresence_sidecar.contract.remote_files import (
    Attributes,
    Contents,
    Entry,
    Listing,
    Op,
    PacketReader,
    Request,
    Space,
    decode_answer,
    decode_contents,
    decode_listings,
    decode_request,
    encode_answer,
    encode_contents,
    encode_listing,
    encode_request,
)

ATTRIBUTES = Attributes(0o100644, 2, 0, 1 << 40, 5 << 30, 77, -5, 10**18 + 3, 2 * 10**18)
REQUESTS = [
    Request(Op.LIST, size=4000),
    Request(Op.WRITE, handle=7, offset=1 << 40, data=b"\0data\n"),
    Request(Op.SET, b"a/b", flags=12, changed=-1, accessed=10**18, mode=0o644, offset=5),
    Request(Op.RENAME, "ü".encode(), other=b"\xff\xfe"),
]


def packets(data: bytes, step: int) -> list[bytes]:
    reader = PacketReader()
    return [
        packet for start in range(0, len(data), step) for packet in reader.feed(data[start : start + step])
    ]


@pytest.mark.parametrize("step", [1, 3, 64, 10_000])
def test_requests_arrive_as_they_were_sent_in_whatever_pieces(step: int) -> None:
    sent = b"".join(
        b"".join(encode_request(number, request)) for number, request in enumerate(REQUESTS, start=1)
    )
    assert [decode_request(packet) for packet in packets(sent, step)] == list(enumerate(REQUESTS, start=1))


@pytest.mark.parametrize("step", [1, 5, 1000])
def test_answers_arrive_as_they_were_sent_in_whatever_pieces(step: int) -> None:
    sent = encode_answer(1, 0, b"payload") + encode_answer(2, 30, b"") + encode_answer(3, 0, b"x" * 300)
    found = [decode_answer(packet) for packet in packets(sent, step)]
    assert found == [(1, 0, b"payload"), (2, 30, b""), (3, 0, b"x" * 300)]


def test_listings_and_contents_stand_one_behind_the_other() -> None:
    listings = [
        Listing(b"", [Entry(b"a", ATTRIBUTES), Entry(b"l", ATTRIBUTES, b"../to")]),
        Listing(b"a/b", []),
    ]
    assert decode_listings(b"".join(map(encode_listing, listings))) == listings
    contents = [Contents(b"a", ATTRIBUTES, b""), Contents(b"b/c", ATTRIBUTES, bytes(1000))]
    assert decode_contents(b"".join(map(encode_contents, contents))) == contents


def test_attributes_and_space_come_back() -> None:
    assert Attributes.decode(ATTRIBUTES.encode()) == ATTRIBUTES
    space = Space(1 << 33, 2, 3, 4, 5, 4096, 255)
    assert Space.decode(space.encode()) == space


@pytest.mark.parametrize("packet", [b"", b"short", b"\0" * 60, b"\0\0\0\1\xff" + bytes(60)])
def test_what_is_no_request_is_refused(packet: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_request(packet)


def test_a_length_that_nobody_sends_is_refused() -> None:
    with pytest.raises(ProtocolError):
        list(PacketReader().feed(b"\xff\xff\xff\xff"))
