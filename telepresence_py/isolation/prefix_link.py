"""The user's own name for the directory of copies that a method without mounts has: a symbolic link, so that
no content of the pod ever lies where the user keeps his files, nor outlives the session there.

A link that a killed session left leads into the runtime directory to what is gone, or whose lock (flock)
nobody holds: it is taken for what it is, and replaced.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from telepresence_py.model.errors import PreconditionFailed
from telepresence_py.process.records import runtime_directory

VOLUMES = "volumes-"
"""What the names of directories of copies in the runtime directory begin with."""


def is_leftover(prefix: str) -> bool:
    """Whether it is the link of a session that has ended."""
    try:
        target = Path(os.readlink(prefix))
    except OSError:
        return False
    return (
        target.parent == runtime_directory()
        and target.name.startswith(VOLUMES)
        and not _is_locked(str(target))
    )


def _is_locked(directory: str) -> bool:
    try:
        lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno == errno.EWOULDBLOCK
    finally:
        os.close(lock)
    return False


@contextmanager
def linked(prefix: str, root: str) -> Iterator[None]:
    """`prefix` leads to the directory `root` inside the block; what it was, nothing or an empty directory, it
    is again after it. PreconditionFailed, with nothing changed, when it is something else by now."""
    mode = None
    try:
        if is_leftover(prefix):
            os.unlink(prefix)
        with suppress(FileNotFoundError):
            found = stat.S_IMODE(os.lstat(prefix).st_mode)
            os.rmdir(prefix)
            mode = found
        os.symlink(root, prefix, target_is_directory=True)
    except OSError as error:
        _put_back(prefix, mode)
        raise PreconditionFailed(
            f"--mount {prefix}: the link to the volumes cannot be made there ({error.strerror}); name a "
            "directory that is empty or not there, in one that is yours"
        ) from error
    try:
        yield
    finally:
        with suppress(OSError):
            if os.readlink(prefix) == root:
                os.unlink(prefix)
                _put_back(prefix, mode)


def _put_back(prefix: str, mode: int | None) -> None:
    if mode is not None:
        with suppress(OSError):
            os.mkdir(prefix)
            os.chmod(prefix, mode)
