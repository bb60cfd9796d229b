"""The layouts of include/uapi/linux/fuse.h; that the kernel takes them is shown by test_mounted."""

from __future__ import annotations

import struct

from telepresence_py.fuse import codec
from telepresence_py.fuse.codec import Call, Opcode, Owner
from telepresence_sidecar.contract.remote_files import Attributes, Space

ATTRIBUTES = Attributes(0o100644, 1, 0, 42, 1000, 8, 3 * 10**9 + 1, -(10**9) + 5, 7)
OWNER = Owner(1000, 100)


def test_a_call_is_cut_from_the_buffer_that_it_was_read_into() -> None:
    buffer = struct.pack("=IIQQIIII", 44, Opcode.LOOKUP, 7, 1, 0, 0, 0, 0) + b"abc\0" + b"old rest"
    assert codec.decode_call(bytearray(buffer)) == Call(Opcode.LOOKUP, 7, 1, b"abc\0")


def test_an_answer_tells_its_length_and_a_negative_errno() -> None:
    assert codec.encode_answer(7, 2, b"") == struct.pack("=IiQ", 16, -2, 7)
    assert codec.encode_answer(7, 0, b"xy") == struct.pack("=IiQ", 18, 0, 7) + b"xy"


def test_sizes_are_the_kernels() -> None:
    assert len(codec.encode_attributes(ATTRIBUTES, OWNER)) == 88
    assert len(codec.encode_entry(2, ATTRIBUTES, OWNER, 1.0)) == 128 == len(codec.NO_ENTRY)
    assert len(codec.encode_valid_attributes(ATTRIBUTES, OWNER, 1.0)) == 104
    assert len(codec.encode_opened(1)) == 16
    assert len(codec.encode_space(Space(1, 2, 3, 4, 5, 4096, 255))) == 80
    assert len(codec.answer_init(struct.pack("=IIII", 7, 38, 1 << 17, 0xFFFFFFFF))) == 64


def test_times_before_1970_have_whole_seconds_below_and_nanoseconds_above() -> None:
    packed = codec.encode_attributes(ATTRIBUTES, OWNER)
    modified, nanoseconds = struct.unpack_from("=q", packed, 32)[0], struct.unpack_from("=I", packed, 52)[0]
    assert (modified, nanoseconds) == (-1, 5)


def test_believing_for_a_part_of_a_second_is_told_in_nanoseconds() -> None:
    packed = codec.encode_entry(2, ATTRIBUTES, OWNER, 0.25)
    assert struct.unpack_from("=QQII", packed, 16) == (0, 0, 250_000_000, 250_000_000)


def test_init_takes_only_what_the_kernel_offers() -> None:
    answer = codec.answer_init(struct.pack("=IIII", 7, 31, 1 << 17, 1 << 13 | 1))
    assert struct.unpack_from("=IIII", answer) == (7, 31, 1 << 17, 1 << 13 | 1)
    assert struct.unpack_from("=II", codec.answer_init(struct.pack("=IIII", 8, 1, 0, 0))) == (7, 31)


def test_a_directory_entry_is_padded_to_eight_bytes() -> None:
    entry = codec.encode_dirent(b"name1", 42, 0o040755, 3)
    assert len(entry) == 32
    assert struct.unpack_from("=QQII", entry) == (42, 3, 5, 4)


def test_changes_carry_nanoseconds() -> None:
    body = struct.pack("=IIQQQQQQIIIIIIII", 1 << 5, 0, 0, 9, 0, 0, 2**64 - 1, 0, 4, 7, 0, 0o644, 0, 5, 6, 0)
    change = codec.decode_setattr(body)
    assert (change.size, change.modified, change.accessed) == (9, -(10**9) + 7, 4)


def test_both_renames_are_read() -> None:
    assert codec.decode_rename(struct.pack("=Q", 5) + b"a\0b\0", Opcode.RENAME) == (5, 0, b"a", b"b")
    body = struct.pack("=QII", 5, 1, 0) + b"a\0b\0"
    assert codec.decode_rename(body, Opcode.RENAME2) == (5, 1, b"a", b"b")


def test_forgets_come_alone_or_many() -> None:
    assert codec.decode_forgets(Call(Opcode.FORGET, 0, 9, struct.pack("=Q", 3))) == [(9, 3)]
    body = struct.pack("=IIQQQQ", 2, 0, 5, 1, 6, 2)
    assert codec.decode_forgets(Call(Opcode.BATCH_FORGET, 0, 0, body)) == [(5, 1), (6, 2)]
