"""The tunnel's frames: bytes in, frames out, and back. Pure.

    type u8 | length u24 | stream u32 | payload of `length` bytes          all integers big endian

    0 MOVE     total u64                                             its bytes go on here, behind so many
    1 OPEN     an Opening; its `rest` may carry the first bytes      laptop opens odd streams, pod even ones
    2 OPENED   -                                                     the other end took the stream
    3 DATA     bytes; on a datagram stream exactly one datagram
    4 EOF      -                                                     no more DATA from this end
    5 RESET    errno u32 (Linux numbers)                             the stream is gone, both directions
    6 WINDOW   credit u32                                            so many more bytes may be sent
    7 MESSAGE  JSON object, stream 0

    of the link, on stream 0; not numbered, and never sent again:
    8 PING     8 bytes                                               answered at once by
    9 PONG     the same 8 bytes                                      and, where that is news, an ACK
   10 ACK      total u64                                             so much came, in whole frames
   11 WELCOME  total u64                                             the same; the pod's first word on a pipe
   12 GONE     -                                                     this link is not resumed any more

A stream's number is never used twice in the life of a mux. The bytes of all but the link's own frames are
numbered from the beginning of the link, without a field for it: both ends count.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

HEADER = struct.Struct("!II")
_U32 = struct.Struct("!I")
_U64 = struct.Struct("!Q")
_OPENING = struct.Struct("!BHHB")

MAX_PAYLOAD = 4 << 20
"""Longest payload that a reader accepts; only a MESSAGE ever comes near."""


class ProtocolError(ValueError):
    """The peer sent what this version of the frames does not know."""


class FrameType(IntEnum):
    MOVE = 0
    OPEN = 1
    OPENED = 2
    DATA = 3
    EOF = 4
    RESET = 5
    WINDOW = 6
    MESSAGE = 7
    PING = 8
    PONG = 9
    ACK = 10
    WELCOME = 11
    GONE = 12


FIRST_OF_LINK = FrameType.PING
"""This type and those above are the link's; those below are numbered, and the mux's."""

_TYPES = {int(type_): type_ for type_ in FrameType}


class Kind(IntEnum):
    """What a stream is for; the opener says so once."""

    TCP = 1  # laptop -> pod: connect to host:port from the pod
    UDP = 2  # laptop -> pod: a datagram flow to host:port
    INBOUND = 3  # pod -> laptop: a connection to the pod's port, from host:peer_port
    DNS = 4  # laptop -> pod: an Inquiry; each answer comes as one datagram
    FILES = 5  # laptop -> pod: rest is a JSON request; the answer is a report line and a tar stream
    INBOUND_UDP = 6  # pod -> laptop: datagrams to the pod's port, from host:peer_port


DATAGRAM_KINDS = frozenset({Kind.UDP, Kind.DNS, Kind.INBOUND_UDP})

REQUEST_KINDS = frozenset({Kind.DNS, Kind.FILES})
"""Their `rest` is a request; that of all others is the first bytes of the stream."""


class Frame(NamedTuple):
    type: FrameType
    stream: int
    payload: bytes


@dataclass(frozen=True)
class Opening:
    """The payload of OPEN: kind u8 | port u16 | peer_port u16 | host length u8 | host | rest.

    `host` is an address or, for TCP and UDP, a name. `port` is always one of the pod's side.
    """

    kind: Kind
    host: str = ""
    port: int = 0
    peer_port: int = 0
    rest: bytes = field(default=b"", repr=False)

    def encode(self) -> bytes:
        host = self.host.encode()
        if len(host) > 255:
            raise ValueError(f"host name of {len(host)} bytes; at most 255 fit")
        return _OPENING.pack(self.kind, self.port, self.peer_port, len(host)) + host + self.rest

    @classmethod
    def decode(cls, payload: bytes) -> Opening:
        try:
            kind, port, peer_port, host_length = _OPENING.unpack_from(payload)
            end = _OPENING.size + host_length
            if len(payload) < end:
                raise ProtocolError("OPEN is cut short")
            return cls(Kind(kind), payload[_OPENING.size : end].decode(), port, peer_port, payload[end:])
        except (struct.error, ValueError) as error:
            raise ProtocolError(f"malformed OPEN: {error}") from error


def encode(type_: FrameType, stream: int, payload: bytes = b"") -> bytes:
    return HEADER.pack(type_ << 24 | len(payload), stream) + payload


def encode_number(type_: FrameType, stream: int, number: int) -> bytes:
    """A RESET (errno) or WINDOW (credit)."""
    return HEADER.pack(type_ << 24 | 4, stream) + _U32.pack(number)


def encode_total(type_: FrameType, total: int, stream: int = 0) -> bytes:
    """An ACK, WELCOME or MOVE."""
    return HEADER.pack(type_ << 24 | 8, stream) + _U64.pack(total)


def encode_message(message: dict[str, object]) -> bytes:
    """`message` with surrogate escapes survives, as JSON escapes them."""
    payload = json.dumps(message, separators=(",", ":")).encode("ascii")
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"message of {len(payload)} bytes; at most {MAX_PAYLOAD} fit")
    return encode(FrameType.MESSAGE, 0, payload)


def decode_number(payload: bytes) -> int:
    if len(payload) != 4:
        raise ProtocolError(f"a number of {len(payload)} bytes")
    return int.from_bytes(payload, "big")


def decode_total(payload: bytes) -> int:
    if len(payload) != 8:
        raise ProtocolError(f"a total of {len(payload)} bytes")
    return int.from_bytes(payload, "big")


def decode_message(payload: bytes) -> dict[str, object]:
    try:
        message = json.loads(payload)
    except ValueError as error:
        raise ProtocolError("MESSAGE is not JSON") from error
    if not isinstance(message, dict):
        raise ProtocolError("MESSAGE is not an object")
    return message


class FrameReader:
    """Cuts a byte stream into frames; a frame may come in any number of pieces."""

    def __init__(self) -> None:
        self.held = 0
        """Bytes that came of a frame which is not whole yet; right between two calls of `feed`."""
        self._pieces: list[bytes | memoryview] = []
        self._needed = HEADER.size

    def feed(self, data: bytes | memoryview) -> Iterator[Frame]:
        """Yields every frame that `data` completes, which may be kept as it is until the next one is whole.
        ProtocolError: the stream cannot be read on."""
        self._pieces.append(data)
        self.held += len(data)
        if self.held < self._needed:  # a long frame is gathered without joining it again and again
            return
        buffer = b"".join(self._pieces) if len(self._pieces) > 1 else data
        self._pieces.clear()
        position = 0
        needed = HEADER.size
        while len(buffer) - position >= HEADER.size:
            word, stream = HEADER.unpack_from(buffer, position)
            length = word & 0xFFFFFF
            if length > MAX_PAYLOAD:
                raise ProtocolError(f"frame of {length} bytes")
            needed = HEADER.size + length
            if len(buffer) - position < needed:
                break
            payload = bytes(buffer[position + HEADER.size : position + needed])
            position += needed
            needed = HEADER.size
            type_ = _TYPES.get(word >> 24)
            if type_ is None:
                raise ProtocolError(f"unknown frame type {word >> 24}")
            yield Frame(type_, stream, payload)
        rest = buffer[position:]
        self.held = len(rest)
        self._needed = needed
        if rest:
            self._pieces.append(rest)
