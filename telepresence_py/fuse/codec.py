"""PURE: what the kernel and a FUSE server say to each other (Linux, include/uapi/linux/fuse.h, version 7.31).

All numbers are little endian or big endian as the machine is. Names end with a NUL.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import NamedTuple

from telepresence_sidecar.contract.remote_files import Attributes, Space

MAJOR, MINOR = 7, 31

ROOT = 1
"""The node id of the top."""

MOST_WRITTEN = 1 << 20
"""Bytes of one WRITE, hence of the longest request."""

BUFFER = MOST_WRITTEN + 4096

_HEADER = struct.Struct("=IIQQIIII")
_ANSWER = struct.Struct("=IiQ")
_ATTRIBUTES = struct.Struct("=QQQQQQIIIIIIIIII")
_ENTRY = struct.Struct("=QQQQII")
_VALID = struct.Struct("=QII")
_OPENED = struct.Struct("=QII")
_DIRENT = struct.Struct("=QQII")
_SPACE = struct.Struct("=QQQQQIIII24x")
_INIT_IN = struct.Struct("=IIII")
_INIT_OUT = struct.Struct("=IIIIHHIIHHI7I")
_SETATTR = struct.Struct("=IIQQQQQQIIIIIIII")
_READ = struct.Struct("=QQIIQII")
_WRITE = struct.Struct("=QQIIQII")
_U64 = struct.Struct("=Q")
_PAIR = struct.Struct("=II")
_QUAD = struct.Struct("=IIII")
_FORGET = struct.Struct("=QQ")


class Opcode(IntEnum):
    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    SYMLINK = 6
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    LINK = 13
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    FLUSH = 25
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    ACCESS = 34
    CREATE = 35
    INTERRUPT = 36
    DESTROY = 38
    BATCH_FORGET = 42
    READDIRPLUS = 44
    RENAME2 = 45


OPCODES = {int(one): one for one in Opcode}

UNANSWERED = frozenset({Opcode.FORGET, Opcode.BATCH_FORGET, Opcode.INTERRUPT, Opcode.DESTROY})

# flags of INIT: we take of the kernel's offer what is of use
_ASYNC_READ, _ATOMIC_O_TRUNC, _BIG_WRITES = 1 << 0, 1 << 3, 1 << 5
_AUTO_INVAL_DATA, _DO_READDIRPLUS, _PARALLEL_DIROPS = 1 << 12, 1 << 13, 1 << 18
_MAX_PAGES, _CACHE_SYMLINKS = 1 << 22, 1 << 23
_WANTED = (
    _ASYNC_READ
    | _ATOMIC_O_TRUNC
    | _BIG_WRITES
    | _AUTO_INVAL_DATA
    | _DO_READDIRPLUS
    | _PARALLEL_DIROPS
    | _MAX_PAGES
    | _CACHE_SYMLINKS
)

KEEP_CACHE, NO_FLUSH = 1 << 1, 1 << 5
"""What an OPEN may be answered with: the cached pages still hold; closing need not be told."""

FATTR_MODE, FATTR_UID, FATTR_GID, FATTR_SIZE, FATTR_ATIME, FATTR_MTIME, FATTR_FH = (1 << n for n in range(7))
FATTR_ATIME_NOW, FATTR_MTIME_NOW = 1 << 7, 1 << 8

GETATTR_FH = 1
FSYNC_DATA_ONLY = 1


class Call(NamedTuple):
    """One request. `opcode` is a plain number where we do not know it."""

    opcode: int
    unique: int
    node: int
    body: bytes


class Owner(NamedTuple):
    """Whose all files are shown to be."""

    user: int
    group: int


class Change(NamedTuple):
    """SETATTR. `valid` has FATTR_*; times in nanoseconds."""

    valid: int
    handle: int
    size: int
    accessed: int
    modified: int
    mode: int
    user: int
    group: int


class Piece(NamedTuple):
    """READ, or WRITE with `data`."""

    handle: int
    offset: int
    size: int
    data: bytes = b""


def decode_call(buffer: bytes | bytearray | memoryview) -> Call:
    length, opcode, unique, node, *_ = _HEADER.unpack_from(buffer)
    return Call(opcode, unique, node, bytes(buffer[_HEADER.size : length]))


def encode_answer(unique: int, error: int, payload: bytes) -> bytes:
    """`error` is an errno, 0 for none."""
    return _ANSWER.pack(_ANSWER.size + len(payload), -error, unique) + payload


def answer_init(body: bytes) -> bytes:
    """OSError-free: a kernel too old for our minor version speaks its own, older one."""
    major, _minor, read_ahead, offered = _INIT_IN.unpack_from(body)
    if major > MAJOR:  # it asks again, in ours
        return _INIT_OUT.pack(MAJOR, MINOR, 0, 0, 0, 0, 0, 0, 0, 0, 0, *[0] * 7)
    pages = MOST_WRITTEN // 4096
    flags = offered & _WANTED
    background = (64, 48)
    return _INIT_OUT.pack(
        MAJOR, MINOR, read_ahead, flags, *background, MOST_WRITTEN, 1, pages, 0, 0, *[0] * 7
    )


def name_of(body: bytes, start: int = 0) -> bytes:
    return body[start : body.index(0, start)]


def names_of(body: bytes, start: int = 0) -> tuple[bytes, bytes]:
    """Two names, one behind the other."""
    first, second = body[start:].split(b"\0")[:2]
    return first, second


def decode_pair(body: bytes) -> tuple[int, int]:
    """Two u32: of OPEN (flags), MKDIR (mode), ACCESS (mask), GETATTR (flags)."""
    first, second = _PAIR.unpack_from(body)
    return first, second


def decode_handle(body: bytes, start: int = 0) -> int:
    return int(_U64.unpack_from(body, start)[0])


def decode_create(body: bytes) -> tuple[int, int, bytes]:
    """Flags, mode (umask applied), name."""
    flags, mode, _umask, _ = _QUAD.unpack_from(body)
    return flags, mode, name_of(body, _QUAD.size)


def decode_mknod(body: bytes) -> tuple[int, bytes]:
    """Mode (umask applied), name."""
    mode, _device, _umask, _ = _QUAD.unpack_from(body)
    return mode, name_of(body, _QUAD.size)


def decode_mkdir(body: bytes) -> tuple[int, bytes]:
    """Mode (umask applied), name."""
    mode, _umask = _PAIR.unpack_from(body)
    return mode, name_of(body, _PAIR.size)


def decode_rename(body: bytes, opcode: int) -> tuple[int, int, bytes, bytes]:
    """Node of the new directory, flags of renameat2(2), old name, new name."""
    if opcode == Opcode.RENAME2:
        directory, flags = struct.unpack_from("=QI4x", body)
        return directory, flags, *names_of(body, 16)
    return decode_handle(body), 0, *names_of(body, 8)


def decode_link(body: bytes) -> tuple[int, bytes]:
    """Node of the file that gets the name."""
    return decode_handle(body), name_of(body, 8)


def decode_read(body: bytes) -> Piece:
    handle, offset, size, *_ = _READ.unpack_from(body)
    return Piece(handle, offset, size)


def decode_write(body: bytes) -> Piece:
    handle, offset, size, *_ = _WRITE.unpack_from(body)
    return Piece(handle, offset, size, body[_WRITE.size : _WRITE.size + size])


def decode_setattr(body: bytes) -> Change:
    valid, _, handle, size, _, atime, mtime, _, atime_ns, mtime_ns, _, mode, _, user, group, _ = (
        _SETATTR.unpack_from(body)
    )
    accessed, modified = _signed(atime) * 10**9 + atime_ns, _signed(mtime) * 10**9 + mtime_ns
    return Change(valid, handle, size, accessed, modified, mode, user, group)


def decode_forgets(call: Call) -> list[tuple[int, int]]:
    """FORGET and BATCH_FORGET: nodes, and how many look-ups of each are forgotten."""
    if call.opcode == Opcode.FORGET:
        return [(call.node, decode_handle(call.body))]
    count, _ = _PAIR.unpack_from(call.body)
    return [_FORGET.unpack_from(call.body, _PAIR.size + 16 * index) for index in range(count)]


def encode_entry(node: int, attributes: Attributes, owner: Owner, seconds: float) -> bytes:
    """The kernel may believe name and attributes for so long."""
    whole, rest = divmod(round(seconds * 10**9), 10**9)
    return _ENTRY.pack(node, 0, whole, whole, rest, rest) + encode_attributes(attributes, owner)


def encode_valid_attributes(attributes: Attributes, owner: Owner, seconds: float) -> bytes:
    whole, rest = divmod(round(seconds * 10**9), 10**9)
    return _VALID.pack(whole, rest, 0) + encode_attributes(attributes, owner)


def encode_attributes(one: Attributes, owner: Owner) -> bytes:
    accessed, modified, changed = (divmod(time, 10**9) for time in one[6:9])
    return _ATTRIBUTES.pack(
        one.inode,
        one.size,
        one.blocks,
        accessed[0] & _64_BITS,
        modified[0] & _64_BITS,
        changed[0] & _64_BITS,
        accessed[1],
        modified[1],
        changed[1],
        one.mode,
        one.links,
        owner.user,
        owner.group,
        one.device,
        4096,
        0,
    )


def encode_opened(handle: int, flags: int = 0) -> bytes:
    return _OPENED.pack(handle, flags, 0)


def encode_written(count: int) -> bytes:
    return _PAIR.pack(count, 0)


def encode_space(space: Space) -> bytes:
    blocks, free, available, files, files_free, block_size, longest_name = space
    return _SPACE.pack(blocks, free, available, files, files_free, block_size, longest_name, block_size, 0)


def encode_dirent(name: bytes, inode: int, mode: int, following: int) -> bytes:
    """`following` is the offset at which the next READDIR begins."""
    record = _DIRENT.pack(inode, following, len(name), mode >> 12 & 15) + name
    return record + bytes(-len(record) % 8)


NO_ENTRY = bytes(_ENTRY.size + _ATTRIBUTES.size)
"""Stands before the dirents of `.` and `..` in a READDIRPLUS: they are not looked up."""

_64_BITS = (1 << 64) - 1


def _signed(seconds: int) -> int:
    return seconds - (1 << 64) if seconds >> 63 else seconds
