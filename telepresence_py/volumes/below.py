"""Writing below a directory that is known by its descriptor: never outside it, never through a symbolic link.

Every component of a path is opened with O_NOFOLLOW relative to the one before, so neither `..` nor a link
that was unpacked a moment ago can lead out. Blocking: for worker threads.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, NamedTuple

Parts = tuple[str, ...]
"""A path below the directory, in components; () is the directory itself."""

PIECE = 64 << 10
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class _Place(NamedTuple):
    """A name in a directory that is open for as long as the `with` lasts."""

    directory: int
    name: str


class Below:
    """Writes files, directories and links below `directory`, which stays open and the caller's.

    What is there already is replaced, but for directories, which are kept. Owners are not: all is ours.
    All methods raise OSError; a component that is a link or no directory is ENOTDIR or ELOOP.
    """

    def __init__(self, directory: int) -> None:
        self._directory = directory
        self._modes: dict[Parts, int] = {}

    def make_directory(self, parts: Parts, mode: int) -> None:
        """The mode is set by `set_directory_modes`: until then we must be able to write into it."""
        os.close(self._open_directory(parts))
        self._modes[parts] = mode & 0o1777

    def write_file(self, parts: Parts, content: IO[bytes], mode: int, modified: float) -> None:
        """`modified` is in seconds since 1970."""
        with self._place(parts) as place:
            _remove(place)
            descriptor = os.open(place.name, _CREATE_FILE, 0o600, dir_fd=place.directory)
            with open(descriptor, "wb", closefd=True) as file:
                while piece := content.read(PIECE):
                    file.write(piece)
                file.flush()
                os.fchmod(descriptor, mode & 0o777)
                os.utime(descriptor, (modified, modified))

    def make_symlink(self, parts: Parts, target: str) -> None:
        """The target is kept verbatim, wherever it points: only the child ever follows it."""
        with self._place(parts) as place:
            _remove(place)
            os.symlink(target, place.name, dir_fd=place.directory)

    def make_hard_link(self, parts: Parts, other: Parts) -> None:
        """A second name for a file that was written before."""
        with self._place(parts) as place, self._place(other) as original:
            _remove(place)
            os.link(
                original.name,
                place.name,
                src_dir_fd=original.directory,
                dst_dir_fd=place.directory,
                follow_symlinks=False,
            )

    def set_directory_modes(self) -> None:
        """To be called once, at the end."""
        for parts in sorted(self._modes, key=len, reverse=True):
            descriptor = self._open_directory(parts)
            try:
                os.fchmod(descriptor, self._modes[parts])
            finally:
                os.close(descriptor)

    @contextmanager
    def _place(self, parts: Parts) -> Iterator[_Place]:
        if not parts:
            raise IsADirectoryError("the mount itself is a directory")
        parent = self._open_directory(parts[:-1])
        try:
            yield _Place(parent, parts[-1])
        finally:
            os.close(parent)

    def _open_directory(self, parts: Parts) -> int:
        """A new descriptor of that directory; missing components are made."""
        here = os.dup(self._directory)
        for part in parts:
            try:
                with suppress(FileExistsError):
                    os.mkdir(part, 0o755, dir_fd=here)
                below = os.open(part, _OPEN_DIRECTORY, dir_fd=here)
            finally:
                os.close(here)
            here = below
        return here


def _remove(place: _Place) -> None:
    """Takes away what is there, unless it is a directory (IsADirectoryError)."""
    try:
        there = os.stat(place.name, dir_fd=place.directory, follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(there.st_mode):
        raise IsADirectoryError(f"{place.name} is a directory already")
    os.unlink(place.name, dir_fd=place.directory)
