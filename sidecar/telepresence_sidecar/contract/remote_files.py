"""Operations on the files below one path of the pod, asked for by the laptop and answered in order. Pure.

On a FILES stream whose request has `operations`, after the report line:

    request   length u32 | number u32 | op u8 | handle u32 | flags u32 | mode u32 | offset u64 | size u32
              | changed i64 | accessed i64 | lengths of path and other, u16 each | path | other | data
    answer    length u32 | number u32 | errno u16 | payload             all integers big endian

`length` is that of what follows it. Paths are bytes relative to the top, without a slash at either end; ""
is the top. Handles are numbers that the laptop chooses. Each request is answered once, in the order in which
they came, so that the laptop need not wait for an answer before it asks on. What an Op takes and gives is
beside it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from .frames import ProtocolError

VERSION = 1
"""The number that a request's `operations` has, and the answer's."""

_LENGTH = struct.Struct("!I")
_REQUEST = struct.Struct("!IBIIIQIqqHH")
_ANSWER = struct.Struct("!IH")
_ATTRIBUTES = struct.Struct("!IIIQQQqqq")
_SPACE = struct.Struct("!QQQQQII")
_SHORT = struct.Struct("!H")

MAX_LENGTH = 256 << 20
"""Of a request or an answer; only the listing of a directory with a million entries comes near."""


class Op(IntEnum):
    """`path` and what else is named; -> the payload of the answer."""

    LIST = 1  # path, size: entries of directories below it, too, about so many -> listings
    CONTENTS = 2  # path of a file, size: those of files near it, too, about so many bytes -> contents
    STAT = 3  # path, or handle -> attributes
    SET = 4  # path, or handle; flags: SET_*; mode, offset: length, changed, accessed -> attributes
    OPEN = 5  # path, handle, flags: O_* of Linux, mode where O_CREAT is among them -> attributes
    READ = 6  # handle, offset, size -> bytes, fewer at the end of the file
    WRITE = 7  # handle, offset, data -> nothing: all of it was written
    CLOSE = 8  # handle -> nothing
    SYNC = 9  # handle, or path of a directory; flags: 1 the data alone -> attributes
    MAKE_DIRECTORY = 10  # path, mode -> attributes
    MAKE_NODE = 11  # path, mode: of a FIFO, a socket or a file -> attributes
    MAKE_SYMLINK = 12  # path, other: where it leads -> attributes
    MAKE_LINK = 13  # path, other: the file that gets this second name -> attributes
    RENAME = 14  # path, other: the new name -> nothing
    REMOVE = 15  # path -> nothing
    REMOVE_DIRECTORY = 16  # path -> nothing
    MAY = 17  # path, mode: as access(2) takes it -> nothing
    SPACE = 18  # -> space


SET_MODE, SET_LENGTH, SET_CHANGED, SET_ACCESSED, SET_CHANGED_NOW, SET_ACCESSED_NOW = 1, 2, 4, 8, 16, 32


class Request(NamedTuple):
    """Times are nanoseconds since 1970."""

    op: Op
    path: bytes = b""
    handle: int = 0
    other: bytes = b""
    flags: int = 0
    mode: int = 0
    offset: int = 0
    size: int = 0
    changed: int = 0
    accessed: int = 0
    data: bytes | memoryview = b""


class Attributes(NamedTuple):
    """As lstat(2) gives them; times in nanoseconds. Owner and group are left out: they are the pod's own."""

    mode: int
    links: int
    device: int
    inode: int
    size: int
    blocks: int
    accessed: int
    modified: int
    changed: int

    def encode(self) -> bytes:
        return _ATTRIBUTES.pack(*self)

    @classmethod
    def decode(cls, payload: bytes) -> Attributes:
        return cls._make(_ATTRIBUTES.unpack(payload))


class Space(NamedTuple):
    """As statvfs(3) gives it."""

    blocks: int
    free: int
    available: int
    files: int
    files_free: int
    block_size: int
    longest_name: int

    def encode(self) -> bytes:
        return _SPACE.pack(*self)

    @classmethod
    def decode(cls, payload: bytes) -> Space:
        return cls._make(_SPACE.unpack(payload))


class Entry(NamedTuple):
    """`target` is where a symbolic link leads."""

    name: bytes
    attributes: Attributes
    target: bytes = b""


class Listing(NamedTuple):
    """All entries of one directory."""

    path: bytes
    entries: list[Entry]


class Contents(NamedTuple):
    """Of one whole file, with the attributes that it had before and after it was read."""

    path: bytes
    attributes: Attributes
    data: bytes


def encode_request(number: int, request: Request) -> list[bytes | memoryview]:
    """Pieces to be written one after the other."""
    path, other, data = request.path, request.other, request.data
    length = _REQUEST.size + len(path) + len(other) + len(data)
    head = _LENGTH.pack(length) + _REQUEST.pack(
        number,
        request.op,
        request.handle,
        request.flags,
        request.mode,
        request.offset,
        request.size,
        request.changed,
        request.accessed,
        len(path),
        len(other),
    )
    return [head + path + other, data] if data else [head + path + other]


def decode_request(packet: bytes) -> tuple[int, Request]:
    """Its number, and the request; ProtocolError when it is none."""
    try:
        number, op, handle, flags, mode, offset, size, changed, accessed, path_length, other_length = (
            _REQUEST.unpack_from(packet)
        )
        middle = _REQUEST.size + path_length
        end = middle + other_length
        path, other = packet[_REQUEST.size : middle], packet[middle:end]
        request = Request(
            Op(op), path, handle, other, flags, mode, offset, size, changed, accessed, packet[end:]
        )
    except (struct.error, ValueError) as error:
        raise ProtocolError(f"malformed file operation: {error}") from error
    return number, request


def encode_answer(number: int, error: int, payload: bytes) -> bytes:
    """`error` is an errno, 0 for none."""
    return _LENGTH.pack(_ANSWER.size + len(payload)) + _ANSWER.pack(number, error) + payload


def decode_answer(packet: bytes) -> tuple[int, int, bytes]:
    """Number, errno, payload."""
    if len(packet) < _ANSWER.size:
        raise ProtocolError("an answer is cut short")
    number, error = _ANSWER.unpack_from(packet)
    return number, error, packet[_ANSWER.size :]


def encode_listing(listing: Listing) -> bytes:
    out = [_short(listing.path), _LENGTH.pack(len(listing.entries))]
    for name, attributes, target in listing.entries:
        out += (_short(name), attributes.encode(), _short(target))
    return b"".join(out)


def decode_listings(payload: bytes) -> list[Listing]:
    """Of one answer, one behind the other."""
    found = []
    position = 0
    while position < len(payload):
        path, position = _unpack_short(payload, position)
        (count,) = _LENGTH.unpack_from(payload, position)
        position += _LENGTH.size
        entries = []
        for _ in range(count):
            name, position = _unpack_short(payload, position)
            attributes = Attributes._make(_ATTRIBUTES.unpack_from(payload, position))
            target, position = _unpack_short(payload, position + _ATTRIBUTES.size)
            entries.append(Entry(name, attributes, target))
        found.append(Listing(path, entries))
    return found


def encode_contents(contents: Contents) -> bytes:
    path, attributes, data = contents
    return b"".join((_short(path), attributes.encode(), _LENGTH.pack(len(data)), data))


def decode_contents(payload: bytes) -> list[Contents]:
    """Of one answer, one behind the other."""
    found = []
    position = 0
    while position < len(payload):
        path, position = _unpack_short(payload, position)
        attributes = Attributes._make(_ATTRIBUTES.unpack_from(payload, position))
        position += _ATTRIBUTES.size
        (length,) = _LENGTH.unpack_from(payload, position)
        position += _LENGTH.size
        found.append(Contents(path, attributes, payload[position : position + length]))
        position += length
    return found


class PacketReader:
    """Cuts a byte stream into what stands behind each length; one may come in any number of pieces."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._held = 0
        self._needed = _LENGTH.size

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yields every packet that `data` completes. ProtocolError: the stream cannot be read on."""
        self._pieces.append(data)
        self._held += len(data)
        if self._held < self._needed:  # a long packet is gathered without joining it again and again
            return
        buffer = b"".join(self._pieces) if len(self._pieces) > 1 else data
        self._pieces.clear()
        position = 0
        self._needed = _LENGTH.size
        while len(buffer) - position >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer, position)
            if length > MAX_LENGTH:
                raise ProtocolError(f"file operation of {length} bytes")
            end = position + _LENGTH.size + length
            if len(buffer) < end:
                self._needed = _LENGTH.size + length
                break
            yield buffer[position + _LENGTH.size : end]
            position = end
        rest = buffer[position:]
        self._held = len(rest)
        if rest:
            self._pieces.append(rest)


def _short(text: bytes) -> bytes:
    return _SHORT.pack(len(text)) + text


def _unpack_short(payload: bytes, position: int) -> tuple[bytes, int]:
    """Text, and where it ends."""
    (length,) = _SHORT.unpack_from(payload, position)
    start = position + _SHORT.size
    return payload[start : start + length], start + length
