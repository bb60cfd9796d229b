"""Directories that a session has below the runtime directory, and that it leaves to nobody."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def own_directory(parent: Path, prefix: str) -> Iterator[str]:
    """A new directory, removed at the end with all that is in it; on the way those of dead sessions are."""
    for left in parent.glob(f"{prefix}*"):
        _remove_unless_used(left)
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


def _remove_unless_used(path: Path) -> None:
    with suppress(OSError):
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(lock)
