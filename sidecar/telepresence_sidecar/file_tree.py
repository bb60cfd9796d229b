"""Many files at once: what a kernel will most likely ask for next goes along with what it asks for.

Everything blocks. What cannot be read is left out, unless it is what was asked for.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterator

from .contract.remote_files import Attributes, Contents, Entry, Listing

SMALL = 64 << 10
"""Contents of larger files do not go along."""

MOST_REMEMBERED = 100_000
"""Files of which it is known that the laptop has them."""

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def attributes_of(status: os.stat_result) -> Attributes:
    return Attributes(
        status.st_mode,
        status.st_nlink,
        status.st_rdev & 0xFFFFFFFF,
        status.st_ino,
        status.st_size,
        status.st_blocks,
        status.st_atime_ns,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


def listings_from(root: bytes, path: bytes, most_entries: int) -> Iterator[Listing]:
    """The directory at `path`, whole; then those below it, nearest first, while they are about so many
    entries. OSError when the first cannot be read."""
    first = _listing(root, path)
    yield first
    count = len(first.entries)
    waiting = deque(_directories(first))
    while waiting and count < most_entries:
        try:
            listing = _listing(root, waiting.popleft())
        except OSError:
            continue
        count += len(listing.entries) + 1
        if count > most_entries:
            return
        yield listing
        waiting += _directories(listing)


def _listing(root: bytes, path: bytes) -> Listing:
    entries = []
    with os.scandir(_join(root, path)) as found:
        for one in found:
            try:
                status = one.stat(follow_symlinks=False)
                target = os.readlink(one.path) if stat.S_ISLNK(status.st_mode) else b""
            except OSError:  # gone meanwhile
                continue
            entries.append(Entry(one.name, attributes_of(status), target))
    entries.sort(key=lambda entry: entry.name)
    return Listing(path, entries)


def _directories(listing: Listing) -> list[bytes]:
    return [
        _join(listing.path, entry.name) for entry in listing.entries if stat.S_ISDIR(entry.attributes.mode)
    ]


def _join(directory: bytes, name: bytes) -> bytes:
    return directory + b"/" + name if directory and name else directory or name


class SentContents:
    """The small files below `root`, and which of them the laptop has been sent in their present state."""

    def __init__(self, root: bytes) -> None:
        self._root = root
        self._sent: dict[bytes, tuple[int, int, int]] = {}

    def near(self, path: bytes, most_bytes: int) -> Iterator[Contents]:
        """The file at `path`, whether it was sent before or not; then others near it that were not, about so
        many bytes. OSError when the first cannot be read."""
        left = most_bytes
        first = self._read(path, None)
        assert first is not None
        yield first
        left -= len(first.data)
        for other, status in self._walk_from(path):
            if left <= 0:
                return
            if status.st_size > SMALL or self._sent.get(other) == _stamp(status):
                continue
            try:
                contents = self._read(other, SMALL)
            except OSError:
                continue
            if contents is not None:
                left -= len(contents.data) + 64
                yield contents

    def _read(self, path: bytes, most_bytes: int | None) -> Contents | None:
        """None when it changed meanwhile or is too long."""
        descriptor = os.open(_join(self._root, path), _OPEN)
        try:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                raise IsADirectoryError(21, "no file")
            if most_bytes is not None and before.st_size > most_bytes:
                return None
            data = os.pread(descriptor, SMALL + 1, 0) if before.st_size <= SMALL else b""
            after = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        if len(data) != after.st_size or _stamp(before) != _stamp(after):
            if most_bytes is None:  # told by a length that does not fit
                return Contents(path, attributes_of(after), b"")
            return None
        if len(self._sent) >= MOST_REMEMBERED:
            self._sent.clear()
        self._sent[path] = _stamp(after)
        return Contents(path, attributes_of(after), data)

    def _walk_from(self, path: bytes) -> Iterator[tuple[bytes, os.stat_result]]:
        """Regular files: those of the same directory and below, then those of its parent, and so on."""
        done = None
        directory = path
        while directory:
            directory = directory.rpartition(b"/")[0]
            yield from self._below(directory, done)
            done = directory

    def _below(self, directory: bytes, without: bytes | None) -> Iterator[tuple[bytes, os.stat_result]]:
        try:
            with os.scandir(_join(self._root, directory)) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError:
            return
        directories = []
        for entry in entries:
            there = _join(directory, entry.name)
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if stat.S_ISREG(status.st_mode):
                yield there, status
            elif stat.S_ISDIR(status.st_mode) and there != without:
                directories.append(there)
        for there in directories:
            yield from self._below(there, without)


def _stamp(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_mtime_ns, status.st_size, status.st_ino
