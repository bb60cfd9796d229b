"""A new state of a volume, put in place of the old one as the kubelet does it.

A state is written whole into a directory of its own; then the link `..data` is renamed over to it. So who
reads finds one state or the other, and who watches the volume's directory by inotify is told what he would be
told in a pod. The order of the steps is that of Kubernetes (pkg/volume/util/atomic_writer.go).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress

import trio

from telepresence_py.model.errors import InternalError
from telepresence_py.volumes.unpack import fill

DATA = "..data"
NEW_DATA = "..data_tmp"

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


async def publish(directory: int, state: str, chunks: AsyncIterator[bytes]) -> bool:
    """Makes what `chunks` holds the content of the volume at the descriptor `directory`, the caller's.

    `chunks` is a tar stream with names relative to the volume. `state` names the directory that it is
    written to. False when the volume holds just that already: nothing is changed then. Raises what `fill`
    raises; then, and when it is cancelled, the old state is in place and nothing of the new one is left.
    """
    if not state.startswith("..") or "/" in state or "\0" in state or state in {"..", DATA, NEW_DATA}:
        raise InternalError(
            f"the pod sent {state!r} as the state of a volume, which names no directory in it"
        )
    try:
        with _made(directory, state) as written:
            await fill({"/": written}, chunks)
        return await trio.to_thread.run_sync(_put_in_place, directory, state)
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(_remove_unused, directory, state)


@contextmanager
def _made(directory: int, state: str) -> Iterator[int]:
    """A descriptor of that new directory."""
    with _writing():
        os.mkdir(state, 0o755, dir_fd=directory)
        descriptor = os.open(state, _OPEN_DIRECTORY, dir_fd=directory)
        os.fchmod(descriptor, 0o755)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InternalError(f"the copy of a volume cannot be written: {error.strerror or error}") from error


def _put_in_place(directory: int, state: str) -> bool:
    with _writing():
        old = _current(directory)
        if old and _contents(directory, old) == _contents(directory, state):
            return False
        os.symlink(state, NEW_DATA, dir_fd=directory)
        os.rename(NEW_DATA, DATA, src_dir_fd=directory, dst_dir_fd=directory)
        _show(directory, _top_names(directory, state), _top_names(directory, old) if old else set())
        for name in os.listdir(directory):  # the old state, and what could not be removed before
            if name.startswith("..") and name not in {DATA, state}:
                _remove(directory, name)
    return True


def _show(directory: int, names: set[str], old_names: set[str]) -> None:
    """What stands in the way of a link is left there: the mount point of a volume in the volume."""
    for name in sorted(names):
        with suppress(FileExistsError):
            os.symlink(f"{DATA}/{name}", name, dir_fd=directory)
    for name in sorted(old_names - names):
        with suppress(OSError):
            if os.readlink(name, dir_fd=directory) == f"{DATA}/{name}":
                os.unlink(name, dir_fd=directory)


def _top_names(directory: int, state: str) -> set[str]:
    """Names that begin with two dots are the layout's own; the kubelet allows no others."""
    descriptor = os.open(state, _OPEN_DIRECTORY, dir_fd=directory)
    try:
        return {name for name in os.listdir(descriptor) if not name.startswith("..")}
    finally:
        os.close(descriptor)


def _contents(directory: int, state: str) -> dict[str, tuple[int, bytes]]:
    """Mode, and digest or link target, of all that is in a state, by path."""
    found = {}
    for top, directories, files, descriptor in os.fwalk(state, dir_fd=directory):
        for name in (*directories, *files):
            status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            content = b""
            if stat.S_ISLNK(status.st_mode):
                content = os.fsencode(os.readlink(name, dir_fd=descriptor))
            elif stat.S_ISREG(status.st_mode):
                with open(os.open(name, _OPEN_FILE, dir_fd=descriptor), "rb") as file:
                    content = hashlib.file_digest(file, "sha256").digest()
            found[os.path.join(top, name).removeprefix(state)] = status.st_mode, content
    return found


def _current(directory: int) -> str:
    """The state that is in place, "" if none."""
    try:
        return os.readlink(DATA, dir_fd=directory)
    except FileNotFoundError:
        return ""


def _remove_unused(directory: int, state: str) -> None:
    """Takes away what was begun of a state that is not in place."""
    if _current(directory) != state:
        with suppress(OSError):
            os.unlink(NEW_DATA, dir_fd=directory)
        _remove(directory, state)


def _remove(directory: int, state: str) -> None:
    shutil.rmtree(state, ignore_errors=True, dir_fd=directory)
