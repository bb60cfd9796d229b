from __future__ import annotations

import io
import os
import stat
import tarfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from telepresence_py.model.errors import InternalError, SessionLost
from telepresence_py.volumes.unpack import Limits, Unpacked, fill, read_files

Entry = tuple[tarfile.TarInfo, bytes]


def entry(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, **fields: object) -> Entry:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def link(name: str, target: str) -> Entry:
    return entry(name, kind=tarfile.SYMTYPE, linkname=target)


def folder(name: str, mode: int = 0o755) -> Entry:
    return entry(name, kind=tarfile.DIRTYPE, mode=mode)


def tar_of(*entries: Entry) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, content in entries:
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


async def in_chunks(stream: bytes, size: int = 700) -> AsyncIterator[bytes]:
    for start in range(0, len(stream), size):
        yield stream[start : start + size]
        yield b""


@contextmanager
def descriptors(root: Path, *paths: str) -> Iterator[dict[str, int]]:
    opened = {}
    for path in paths:
        directory = root / path.replace("/", "_")
        directory.mkdir()
        opened[path] = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield opened
    finally:
        for descriptor in opened.values():
            os.close(descriptor)


def unpacked(root: Path, *entries: Entry, limits: Limits | None = None) -> Unpacked:
    """Into root/_v, as the mount /v."""
    with descriptors(root, "/v") as directories:
        return trio.run(fill, directories, in_chunks(tar_of(*entries)), limits)


def test_the_kubelets_layout_is_kept(tmp_path: Path) -> None:
    done = unpacked(
        tmp_path,
        folder("v", 0o777),
        folder("v/..2026_01_01", 0o755),
        link("v/..data", "..2026_01_01"),
        entry("v/..2026_01_01/key", b"value", mode=0o644),
        link("v/key", "..data/key"),
    )
    volume = tmp_path / "_v"
    assert os.readlink(volume / "key") == "..data/key"
    assert os.readlink(volume / "..data") == "..2026_01_01"
    assert (volume / "key").read_bytes() == b"value"
    assert stat.S_IMODE(volume.stat().st_mode) == 0o777
    assert (done.files, done.bytes, done.left_out) == (5, 5, ())


def test_modes_and_times_are_kept_and_set_user_id_is_not(tmp_path: Path) -> None:
    unpacked(
        tmp_path,
        folder("v/closed", 0o1500),
        entry("v/closed/secret", b"s", mode=0o400, mtime=1_700_000_000),
        entry("v/closed/program", b"p", mode=0o4755),
    )
    closed = tmp_path / "_v" / "closed"
    assert stat.S_IMODE(closed.stat().st_mode) == 0o1500
    assert stat.S_IMODE((closed / "secret").stat().st_mode) == 0o400
    assert (closed / "secret").stat().st_mtime == 1_700_000_000
    assert stat.S_IMODE((closed / "program").stat().st_mode) == 0o755


@pytest.mark.parametrize("name", ["/v/a/b", "v/a/b", "./v/./a//b"])
def test_members_are_found_however_their_path_is_written(tmp_path: Path, name: str) -> None:
    unpacked(tmp_path, entry(name, b"x"))
    assert (tmp_path / "_v" / "a" / "b").read_bytes() == b"x"


def test_names_that_are_not_utf_8_or_long_are_kept(tmp_path: Path) -> None:
    odd = b"caf\xe9".decode("utf-8", "surrogateescape")
    long = "n" * 200
    unpacked(tmp_path, entry(f"v/{odd}", b"1"), entry(f"v/{long}/{long}", b"2"))
    assert (tmp_path / "_v" / odd).read_bytes() == b"1"
    assert (tmp_path / "_v" / long / long).read_bytes() == b"2"


def test_a_large_file_arrives_whole(tmp_path: Path) -> None:
    content = os.urandom(300_001)
    unpacked(tmp_path, entry("v/big", content))
    assert (tmp_path / "_v" / "big").read_bytes() == content


def test_of_nested_mounts_the_innermost_takes_a_member(tmp_path: Path) -> None:
    with descriptors(tmp_path, "/v", "/v/in") as directories:
        stream = tar_of(entry("v/a", b"outer"), entry("v/in/a", b"inner"), entry("v/inside", b"outer"))
        trio.run(fill, directories, in_chunks(stream))
    assert (tmp_path / "_v" / "a").read_bytes() == b"outer"
    assert (tmp_path / "_v_in" / "a").read_bytes() == b"inner"
    assert (tmp_path / "_v" / "inside").read_bytes() == b"outer"


def test_hard_links_stay_links(tmp_path: Path) -> None:
    unpacked(tmp_path, entry("v/a", b"x"), entry("v/d/b", kind=tarfile.LNKTYPE, linkname="v/a"))
    assert (tmp_path / "_v" / "a").samefile(tmp_path / "_v" / "d" / "b")


def test_what_was_there_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"mine")
    unpacked(tmp_path, link("v/a", str(outside)), entry("v/a", b"new"))
    assert (tmp_path / "_v" / "a").read_bytes() == b"new"
    assert not (tmp_path / "_v" / "a").is_symlink()
    assert outside.read_bytes() == b"mine"


@pytest.mark.parametrize(
    "entries",
    [
        [entry("v/../escaped", b"x")],
        [entry("v/a/../../escaped", b"x")],
        [entry("escaped", b"x")],
        [entry("/etc/escaped", b"x")],
        [entry("v", b"x")],
        [link("v/up", ".."), entry("v/up/escaped", b"x")],
        [link("v/up", ".."), folder("v/up/escaped")],
        [link("v/up", "../escaped"), folder("v/up")],
        [link("v/up", ".."), link("v/up/escaped", "x")],
        [link("v/up", ".."), entry("v/up/escaped", kind=tarfile.LNKTYPE, linkname="v/up/mine")],
        [link("v/up", ".."), entry("v/stolen", kind=tarfile.LNKTYPE, linkname="v/up/mine")],
        [entry("v/stolen", kind=tarfile.LNKTYPE, linkname="v/../mine")],
        [entry("v/stolen", kind=tarfile.LNKTYPE, linkname="/mine")],
        [entry("v/file", b"x"), entry("v/file/escaped", b"x")],
        [folder("v/d"), entry("v/d", b"x")],
    ],
)
def test_nothing_leaves_its_mount(tmp_path: Path, entries: list[Entry]) -> None:
    (tmp_path / "mine").write_bytes(b"mine")
    with pytest.raises(InternalError):
        unpacked(tmp_path, *entries)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["_v", "mine"]
    assert not (tmp_path / "_v" / "stolen").exists()


def test_sockets_and_devices_are_left_out_and_named(tmp_path: Path) -> None:
    done = unpacked(tmp_path, entry("v/pipe", kind=tarfile.FIFOTYPE), entry("v/a", b"x"))
    assert done.left_out == ("v/pipe",)
    assert [path.name for path in (tmp_path / "_v").iterdir()] == ["a"]


@pytest.mark.parametrize("limits", [Limits(most_bytes=4), Limits(most_files=1)])
def test_a_pod_that_sends_too_much_is_stopped(tmp_path: Path, limits: Limits) -> None:
    with pytest.raises(InternalError, match="more than"):
        unpacked(tmp_path, entry("v/a", b"xxx"), entry("v/b", b"xxx"), limits=limits)
    assert not (tmp_path / "_v" / "b").exists()


def test_what_is_no_archive_is_told_as_such(tmp_path: Path) -> None:
    with descriptors(tmp_path, "/v") as directories, pytest.raises(InternalError, match="cannot be read"):
        trio.run(fill, directories, in_chunks(b"nonsense" * 1000))


def test_an_archive_that_ends_within_a_file_is_told_as_such(tmp_path: Path) -> None:
    stream = tar_of(entry("v/a", b"x" * 5000))[:3000]
    with descriptors(tmp_path, "/v") as directories, pytest.raises(InternalError, match="cannot be read"):
        trio.run(fill, directories, in_chunks(stream))


def test_a_lost_tunnel_ends_it_with_its_own_error(tmp_path: Path) -> None:
    async def cut_off() -> AsyncIterator[bytes]:
        yield tar_of(entry("v/a", b"x" * 5000))[:3000]
        raise SessionLost("gone")

    with descriptors(tmp_path, "/v") as directories, pytest.raises(SessionLost):
        trio.run(fill, directories, cut_off())


def test_it_can_be_cancelled_while_the_pod_is_silent(tmp_path: Path) -> None:
    async def silent() -> AsyncIterator[bytes]:
        yield tar_of(entry("v/a", b"x" * 5000))[:3000]
        await trio.sleep_forever()

    async def cancelled_soon() -> bool:
        with descriptors(tmp_path, "/v") as directories:
            with trio.move_on_after(0.05) as scope:
                await fill(directories, silent())
        return scope.cancelled_caught

    assert trio.run(cancelled_soon)


def test_the_given_descriptors_stay_open(tmp_path: Path) -> None:
    with descriptors(tmp_path, "/v") as directories:
        before = len(os.listdir("/proc/self/fd"))
        trio.run(fill, directories, in_chunks(tar_of(folder("v/a/b/c"), entry("v/a/b/c/d", b"x"))))
        assert len(os.listdir("/proc/self/fd")) == before
        os.fstat(directories["/v"])


def test_single_files_are_read_and_directories_are_not() -> None:
    stream = tar_of(
        entry("etc/app.conf", b"a=1"), folder("etc/dir"), entry("etc/dir/x", b"x"), entry("other", b"o")
    )
    found = trio.run(read_files, ["/etc/app.conf", "/etc/dir", "/missing"], in_chunks(stream))
    assert found == {"/etc/app.conf": b"a=1"}


def test_single_files_are_bounded() -> None:
    with pytest.raises(InternalError, match="more than"):
        trio.run(read_files, ["/a"], in_chunks(tar_of(entry("a", b"12345"))), Limits(most_bytes=4))
