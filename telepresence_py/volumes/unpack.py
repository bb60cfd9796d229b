"""The pod's files, which come as a tar stream, written into directories on the laptop.

The stream comes from the pod and is not trusted: a member is written below its mount's directory (`below.py`)
or not at all. Symbolic links are copied verbatim, so the layout of the kubelet (`key -> ..data/key`,
`..data -> ..2026_01_01/`) stays what it is.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import trio

from telepresence_py.model.errors import InternalError
from telepresence_py.volumes.below import PIECE, Below, Parts
from telepresence_py.volumes.choose import MOST_BYTES, MOST_FILES

T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """Of one mount. The pod keeps them by itself; here they bound what a broken pod can do."""

    most_bytes: int = MOST_BYTES
    most_files: int = MOST_FILES


@dataclass(frozen=True)
class Unpacked:
    """What was written. `left_out` are members that are no file, directory or link (sockets, devices)."""

    files: int
    bytes: int
    left_out: tuple[str, ...] = ()


async def fill(
    directories: Mapping[str, int], chunks: AsyncIterator[bytes], limits: Limits | None = None
) -> Unpacked:
    """Unpacks the whole stream: a member `/etc/orders/key` goes into the directory given for `/etc/orders`.

    `directories` maps absolute mount paths to descriptors of directories, which stay open and the caller's;
    of nested mounts the innermost takes a member. Members may be named with or without the leading slash.
    Writing happens in a worker thread; memory holds one chunk. Raises InternalError when a member would leave
    its mount, cannot be written or exceeds a limit (what was written before stays), and what `chunks` raises,
    OSError too.
    """
    mounts = _Mounts(directories, limits or Limits())
    return await _in_thread(lambda archive: _unpack(archive, mounts), chunks)


async def read_files(
    paths: Iterable[str], chunks: AsyncIterator[bytes], limits: Limits | None = None
) -> dict[str, bytes]:
    """The contents of those of the absolute `paths` that are regular files, for mounts with subPath.

    A path that is a directory, or not in the stream at all, is missing in the answer. Raises as `fill` does.
    """
    wanted = {_parts(path): path for path in paths}
    return await _in_thread(lambda archive: _read(archive, wanted, limits or Limits()), chunks)


async def _in_thread(work: Callable[[tarfile.TarFile], T], chunks: AsyncIterator[bytes]) -> T:
    def read_archive() -> T:
        try:
            with tarfile.open(fileobj=io.BufferedReader(_Feed(chunks), PIECE), mode="r|") as archive:
                return work(archive)
        except tarfile.TarError as error:
            raise InternalError(f"the pod sent its volumes in a form that cannot be read: {error}") from error

    try:
        result = await trio.to_thread.run_sync(read_archive)
    except _BrokenOff as broken:
        raise broken.reason from None
    async for _ in chunks:  # an archive tells its end itself, but only the end of the stream makes it valid
        pass
    return result


class _BrokenOff(Exception):
    """An OSError of the chunks, which must not be taken for one of the laptop's files."""

    def __init__(self, reason: OSError) -> None:
        self.reason = reason


class _Feed(io.RawIOBase):
    """The asynchronous chunks as a file, for the worker thread, which is cancelled with its reader."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            chunk = trio.from_thread.run(self._next)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        piece, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(piece)] = piece
        return len(piece)

    async def _next(self) -> bytes | None:
        try:
            return await anext(self._chunks, None)
        except OSError as error:
            raise _BrokenOff(error) from error


@dataclass
class _Count:
    """How much of one mount has been unpacked."""

    limits: Limits
    files: int = 0
    bytes: int = 0

    def add(self, member: tarfile.TarInfo) -> None:
        self.files += 1
        self.bytes += max(0, member.size)
        if self.files > self.limits.most_files or self.bytes > self.limits.most_bytes:
            raise InternalError(
                f"the pod sent more than {self.limits.most_files} files or {self.limits.most_bytes} bytes "
                f"of one volume, up to {member.name}"
            )


@dataclass
class _Mount:
    below: Below
    count: _Count


class _Mounts:
    """The directories to fill, found by a member's path."""

    def __init__(self, directories: Mapping[str, int], limits: Limits) -> None:
        self._mounts: dict[Parts, _Mount] = {
            _parts(path): _Mount(Below(directory), _Count(limits)) for path, directory in directories.items()
        }

    def find(self, name: str) -> tuple[_Mount, Parts]:
        """The innermost mount around that member, and the path in it."""
        parts = _parts(name)
        for depth in range(len(parts), -1, -1):
            mount = self._mounts.get(parts[:depth])
            if mount is not None:
                return mount, parts[depth:]
        raise InternalError(f"the pod sent {name}, which is in none of the volumes that were asked for")

    def finish(self, left_out: tuple[str, ...]) -> Unpacked:
        for mount in self._mounts.values():
            mount.below.set_directory_modes()
        counts = [mount.count for mount in self._mounts.values()]
        return Unpacked(sum(count.files for count in counts), sum(count.bytes for count in counts), left_out)


def _unpack(archive: tarfile.TarFile, mounts: _Mounts) -> Unpacked:
    left_out: list[str] = []
    for member in archive:
        try:
            if not _write(archive, member, mounts):
                left_out.append(member.name)
        except OSError as error:
            raise InternalError(
                f"{member.name} of the pod's volumes cannot be written to its copy: {error.strerror or error}"
            ) from error
    return mounts.finish(tuple(left_out))


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, mounts: _Mounts) -> bool:
    """False when it is nothing that can be copied."""
    mount, parts = mounts.find(member.name)
    mount.count.add(member)
    if member.isdir():
        mount.below.make_directory(parts, member.mode)
    elif member.issym():
        mount.below.make_symlink(parts, member.linkname)
    elif member.islnk():
        other_mount, other = mounts.find(member.linkname)
        if other_mount is not mount:
            raise InternalError(
                f"the pod sent {member.name} as a link into another volume, {member.linkname}"
            )
        mount.below.make_hard_link(parts, other)
    elif content := archive.extractfile(member) if member.isreg() else None:
        mount.below.write_file(parts, content, member.mode, member.mtime)
    else:
        return False
    return True


def _read(archive: tarfile.TarFile, wanted: Mapping[Parts, str], limits: Limits) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    count = _Count(limits)
    for member in archive:
        count.add(member)
        path = wanted.get(_parts(member.name))
        content = archive.extractfile(member) if path is not None and member.isreg() else None
        if path is not None and content is not None:
            found[path] = content.read()
    return found


def _parts(path: str) -> Parts:
    """Components of a path from the root; InternalError when it climbs."""
    parts = tuple(part for part in path.split("/") if part not in {"", "."})
    if ".." in parts or "\0" in path:
        raise InternalError(f"the pod sent a path that leaves its volume: {path!r}")
    return parts
