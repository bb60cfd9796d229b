"""PURE: files and directories of a container's image, as its own `tar` or `cat` has told them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field

from telepresence_py.model.world import FILE_MODE
from telepresence_py.volumes.choose import MOST_BYTES, MOST_FILES

MOST_ARCHIVE_BYTES = MOST_BYTES + (MOST_FILES << 11)
"""Of a tar stream with as much in it as may be: two blocks of headers for each file and one of padding."""


_END = bytes(2 * tarfile.BLOCKSIZE)


@dataclass(frozen=True)
class Brought:
    """What is to be at `path` for the child. Of a directory `content` is a tar stream with names relative to
    `root`, which is `/` or the path itself; of a file, which has no root, it is its content."""

    path: str
    content: bytes = field(repr=False)
    mode: int = FILE_MODE
    root: str = ""

    @property
    def is_directory(self) -> bool:
        return bool(self.root)

    @property
    def fills(self) -> str:
        """The name, from a root, that the directory itself has in the stream."""
        return self.path if self.root == "/" else "/"


@dataclass(frozen=True)
class Link:
    """The path is a symbolic link, to be followed by who reads."""


@dataclass(frozen=True)
class TooMuch:
    """More than may be copied; the numbers are counts, or at least the limits."""

    files: int
    bytes: int


Looked = Brought | Link | TooMuch | None
"""None is for what is neither file nor directory."""


def of_archive(path: str, archive: bytes, root: str) -> Looked:
    """What an archive made for `path` alone, with names relative to `root`, holds of it. ValueError when it
    is none, or not whole."""
    files = size = 0
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as opened:
            members = iter(opened)
            first = next(members, None)
            if first is None:
                return None
            if first.issym():
                return Link()
            if not (first.isdir() or first.isreg()):
                return None
            if first.size > MOST_BYTES:
                return TooMuch(1, first.size)
            if not archive.endswith(_END):  # tarfile does not miss it
                raise ValueError("it has no end")
            for member in (first, *members):
                files, size = files + 1, size + max(0, member.size)
            if files > MOST_FILES or size > MOST_BYTES:
                return TooMuch(files, size)
            if first.isdir():
                return Brought(path, archive, first.mode & 0o777, root)
            content = opened.extractfile(first)
            return Brought(path, b"" if content is None else content.read(), first.mode & 0o777)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ValueError(str(error)) from error


def covering(path: str, mounts: Mapping[str, str]) -> str | None:
    """A clause on the volume that has the path in it, or is in it; `mounts` has kinds by path."""
    for mounted, kind in mounts.items():
        if path == mounted or path.startswith(mounted.rstrip("/") + "/"):
            return f"it is in the volume at {mounted} ({kind}), which the command has anyway; leave it out"
        if mounted.startswith(path + "/"):
            return f"the volume at {mounted} ({kind}) is in it: name what is beside that, one by one"
    return None
