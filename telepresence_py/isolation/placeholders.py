"""Mount points that had to be made in the laptop's own tree: empty, and removed at the end.

The kernel lets go of a mount when its mount point is removed from another mount namespace. So no session may
remove one on which another session mounts: each holds a shared lock (flock) on its mount points, and only who
gets the lock alone removes.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress

from telepresence_py.process.kernel import unmount


class Placeholders:
    """Belongs to the process that mounts; `remove` before it ends."""

    def __init__(self) -> None:
        self._made: list[str] = []  # parents before children
        self._claims: dict[str, int] = {}

    def make(self, path: str, is_directory: bool) -> None:
        """Make an empty directory or file, and its parents, unless they exist."""
        directory = path if is_directory else os.path.dirname(path)
        missing = []
        while not os.path.isdir(directory):
            missing.append(directory)
            directory = os.path.dirname(directory)
        for each in reversed(missing):
            os.mkdir(each)
            self._made.append(each)
            self.claim(each)
        if not is_directory:
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644))
                self._made.append(path)
            self.claim(path)

    def claim(self, path: str) -> None:
        """Hold the lock on what is at `path` now, before anything is mounted there.

        Where the user may not even open it, nobody like us can have made it, nor remove it.
        """
        if path in self._claims:
            return
        with suppress(OSError):
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            self._claims[path] = fd

    def remove(self) -> None:
        """Remove what we made, nobody else uses, and is still empty. Idempotent; never raises OSError."""
        while self._made:
            path = self._made.pop()
            _unmount_all(path)
            with suppress(OSError, KeyError):
                fcntl.flock(self._claims[path], fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.rmdir(path) if os.path.isdir(path) else _remove_empty_file(path)
        while self._claims:
            os.close(self._claims.popitem()[1])


def _unmount_all(path: str) -> None:
    with suppress(OSError):
        while True:
            unmount(path)


def _remove_empty_file(path: str) -> None:
    if os.stat(path).st_size == 0:
        os.unlink(path)
