"""Small volumes as tar streams: first looked over, then read piece by piece."""

from __future__ import annotations

import os
import re
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

CHUNK = 256 << 10


@dataclass
class Survey:
    """What is below a path, as far as one looked. `entries` are names relative to it, parents first."""

    path: str
    kind: str
    files: int = 0
    size: int = 0
    refusal: str = ""
    unreadable: list[str] = field(default_factory=list)
    entries: list[str] = field(default_factory=list)

    def report(self) -> dict[str, object]:
        """The fields of the laptop's FileReport."""
        return {
            "path": self.path,
            "kind": self.kind,
            "files": self.files,
            "size": self.size,
            "refusal": self.refusal,
            "unreadable": self.unreadable[:100],
        }


def mount_points(mountinfo: str) -> frozenset[str]:
    """The paths at which something is mounted, from the text of /proc/self/mountinfo (proc(5))."""
    fields = (line.split(" ", 5) for line in mountinfo.splitlines())
    return frozenset(
        re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), each[4])
        for each in fields
        if len(each) > 5
    )


def survey(path: str, max_bytes: int, max_files: int) -> Survey:
    """Looks at the directory or file `path`, but no further than the limits, and into nothing that is mounted
    below it: that is a volume of its own. Blocks on the disk."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        return Survey(path, "missing", refusal=f"it cannot be read: {os.strerror(error.errno or 0)}")
    if stat.S_ISREG(mode):
        seen = Survey(path, "file")
        _count(seen, path, "")
    elif stat.S_ISDIR(mode):
        seen = Survey(path, "directory")
        for name in _walk(seen):
            _count(seen, os.path.join(path, name), name)
            if seen.files > max_files or len(seen.entries) > 4 * max_files + 16:
                seen.refusal = f"it holds more than {max_files} files"
                return seen
            if seen.size > max_bytes:
                break
    else:
        return Survey(path, "missing", refusal="it is neither a directory nor a file")
    if seen.size > max_bytes:
        seen.refusal = f"it holds more than {max_bytes} bytes"
    return seen


def _mounted_below(path: str) -> frozenset[str]:
    """Names relative to `path`."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            points = mount_points(file.read())
    except OSError:
        return frozenset()
    top = os.path.realpath(path).rstrip("/") + "/"
    return frozenset(point.removeprefix(top) for point in points if point.startswith(top))


def _walk(seen: Survey) -> Iterator[str]:
    def unreadable(error: OSError) -> None:
        seen.unreadable.append(os.path.relpath(str(error.filename), seen.path))

    mounted = _mounted_below(seen.path)
    for top, directories, files in os.walk(seen.path, onerror=unreadable):
        below = {name: os.path.relpath(os.path.join(top, name), seen.path) for name in (*directories, *files)}
        directories[:] = [name for name in directories if below[name] not in mounted]
        yield from (path for path in below.values() if path not in mounted)


def _count(seen: Survey, full: str, name: str) -> None:
    try:
        status = os.lstat(full) if name else os.stat(full)
    except OSError:  # gone meanwhile
        return
    if stat.S_ISREG(status.st_mode):
        if not os.access(full, os.R_OK):
            seen.unreadable.append(name)
            return
        seen.files += 1
        seen.size += status.st_size
    elif not (stat.S_ISDIR(status.st_mode) or stat.S_ISLNK(status.st_mode)):
        return
    seen.entries.append(name)


def tar_chunks(seen: Survey) -> Iterator[bytes]:
    """The pax stream of what was surveyed, in pieces of at most about CHUNK bytes. Blocks on the disk.

    A file that changed its length meanwhile is cut or padded with zeros to the length in its header; one that
    vanished is left out.
    """
    for name in seen.entries:
        full = os.path.join(seen.path, name) if name else seen.path
        try:
            yield from _entry(full, name or os.path.basename(seen.path), follow=not name)
        except OSError:
            continue
    yield bytes(2 * tarfile.BLOCKSIZE)


def _entry(full: str, name: str, follow: bool) -> Iterator[bytes]:
    status = os.stat(full) if follow else os.lstat(full)
    info = tarfile.TarInfo(name)
    info.mode, info.uid, info.gid = stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid
    info.mtime = status.st_mtime
    if stat.S_ISDIR(status.st_mode):
        info.type = tarfile.DIRTYPE
    elif stat.S_ISLNK(status.st_mode):
        info.type, info.linkname = tarfile.SYMTYPE, os.readlink(full)
    else:
        info.size = status.st_size
        with open(full, "rb") as contents:  # before the header: what cannot be opened has none
            yield _header(info)
            left = info.size
            while left > 0:
                piece = _read(contents, min(left, CHUNK))
                left -= len(piece)
                yield piece
        yield bytes(-info.size % tarfile.BLOCKSIZE)
        return
    yield _header(info)


def _read(contents: BinaryIO, count: int) -> bytes:
    """The header has promised these bytes: zeros stand for what cannot be read."""
    try:
        return contents.read(count) or bytes(count)
    except OSError:
        return bytes(count)


def _header(info: tarfile.TarInfo) -> bytes:
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
