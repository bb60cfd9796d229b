"""Directories that a session has below the runtime directory, and that it leaves to nobody."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def own_directory(parent: Path, prefix: str) -> Iterator[str]:
    """A new directory, removed at the end with all that is in it; on the way those of dead sessions are."""
    remove_left(parent, prefix)
    while True:
        path = tempfile.mkdtemp(prefix=prefix, dir=parent)  # mode 0700
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.isdir(path):  # another session may have taken it for a dead one's before it was locked
            break
        os.close(lock)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def remove_left(parent: Path, prefix: str, empty: Callable[[Path], None] | None = None) -> None:
    """Remove directories of that kind that no session uses; `empty` is tried for one in which there is what
    this user may not remove."""
    for left in parent.glob(f"{prefix}*"):
        _remove_unless_used(left, empty)


def _remove_unless_used(path: Path, empty: Callable[[Path], None] | None) -> None:
    with suppress(OSError):
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
            if empty is not None and path.exists():
                empty(path)
                path.rmdir()
        finally:
            os.close(lock)
