"""Mount points that had to be made in the laptop's own tree: empty, and removed by the last who uses them.

The kernel lets go of a mount when its mount point is removed from another mount namespace. So no session may
remove one on which another session mounts: each holds a shared lock (flock) on its mount points, and only who
gets the lock alone removes.

Who made one may end before others who use it, or be killed. So what is ours carries a mark, a time of last
change that nothing else has, and whoever uses what is marked removes it like what it made itself.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress

from telepresence_py.process.kernel import unmount

MARK_SECONDS = 981_173_106
"""2001-02-03 04:05:06 UTC. A full second, as some file systems know no smaller unit."""


class Placeholders:
    """Belongs to the process that mounts; `remove` before it ends."""

    def __init__(self) -> None:
        self._ours: list[str] = []  # parents before children
        self._claims: dict[str, int] = {}

    def make(self, path: str, is_directory: bool) -> None:
        """Make an empty directory or file, and its parents, unless they exist."""
        directory = path if is_directory else os.path.dirname(path)
        missing = []
        while not os.path.isdir(directory):
            missing.append(directory)
            directory = os.path.dirname(directory)
        is_marked = _is_marked(directory)
        for each in reversed(missing):
            os.mkdir(each)
        if not is_directory:
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644))
                missing.insert(0, path)
        for each in missing:
            _mark(each)
        if is_marked:
            _mark(directory)  # an entry that is made in it changes its time
        self.claim(path)

    def claim(self, path: str) -> None:
        """Hold the lock on what is at `path` now, before anything is mounted there, and on marked parents.

        Where the user may not even open it, nobody like us can have made it, nor remove it.
        """
        parent = os.path.dirname(path)
        if parent != path and _is_marked(parent):
            self.claim(parent)
        if path in self._claims:
            return
        if _is_marked(path):
            self._ours.append(path)
        with suppress(OSError):
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            self._claims[path] = fd

    def remove(self) -> None:
        """Remove what sessions made, nobody else uses, and is still empty. Idempotent; no OSError."""
        while self._ours:
            path = self._ours.pop()
            _unmount_all(path)
            with suppress(OSError, KeyError):
                # a lock that is refused is lost as well (flock(2)), so that the last of several gets it
                fcntl.flock(self._claims[path], fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove_empty(path)
        while self._claims:
            os.close(self._claims.popitem()[1])


def _mark(path: str) -> None:
    with suppress(OSError):
        os.utime(path, (MARK_SECONDS, MARK_SECONDS))


def _is_marked(path: str) -> bool:
    try:
        return os.stat(path).st_mtime_ns == MARK_SECONDS * 1_000_000_000
    except OSError:
        return False


def _unmount_all(path: str) -> None:
    with suppress(OSError):
        while True:
            unmount(path)


def _remove_empty(path: str) -> None:
    parent = os.path.dirname(path)
    is_marked = _is_marked(parent)
    if os.path.isdir(path):
        os.rmdir(path)
    elif os.stat(path).st_size == 0:
        os.unlink(path)
    if is_marked:
        _mark(parent)
