"""Carries out a graft in the mount namespace that we are in. Everything here has been decided in `graft`."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress

from telepresence_py.isolation.contract import FUSE_DEVICE
from telepresence_py.isolation.graft import (
    Cover,
    Found,
    Graft,
    Hide,
    Make,
    MakeOnLaptop,
    MountFile,
    Mounting,
    MountPrefix,
    MountVolume,
    Seal,
    Show,
)
from telepresence_py.isolation.placeholders import Placeholders
from telepresence_py.process.kernel import (
    MS_BIND,
    MS_NODEV,
    MS_NOSUID,
    MS_RDONLY,
    MS_REC,
    MS_REMOUNT,
    MS_SLAVE,
    mount,
    pivot_root,
    unmount,
)

_OURS = MS_NOSUID | MS_NODEV
_STAGE = "/sys"  # a directory that exists everywhere; covered for moments only
_OLD_ROOT = "/.telepresence-old-root"


def find(paths: Iterable[str]) -> dict[str, Found]:
    """What the laptop has at these paths, as the user who asks."""
    return {path: _find(path) for path in paths}


def _find(path: str) -> Found:
    real = existing = os.path.realpath(path)
    while not os.path.lexists(existing):
        existing = os.path.dirname(existing)
    is_directory = os.path.isdir(existing)
    try:
        occupied = is_directory and bool(os.listdir(existing))
    except OSError:
        occupied = True
    return Found(real, existing, is_directory, os.access(existing, os.W_OK | os.X_OK), occupied)


def existing_directories(paths: Iterable[str]) -> list[str]:
    return [os.path.realpath(path) for path in paths if os.path.isdir(path)]


def carry_out(
    graft: Graft,
    contents: Mapping[str, tuple[bytes, int]],
    placeholders: Placeholders,
    serve: Callable[[str, int], None],
) -> dict[str, int]:
    """Do all steps; returns the volumes' directory descriptors by path, the caller's to close.

    `contents` has those of every MountFile, and its mode. `serve(path, descriptor)` has somebody else answer
    the kernel for a live volume from then on, and closes the descriptor. The laptop's later mounts still come
    in, ours never go out.
    """
    mount(None, "/", None, MS_REC | MS_SLAVE)
    volumes: dict[str, int] = {}
    covers = [step for step in graft.steps if isinstance(step, Cover)]
    for step in covers:
        _cover_root() if step.directory == "/" else _cover(step)
    with _staged(contents) as staged:
        for other in graft.steps[len(covers) :]:
            if isinstance(other, MountVolume) and other.live:
                placeholders.claim(other.real)
                serve(other.path, _mount_live(other))
                with suppress(OSError):
                    # until the kernel has asked for its owner that is root, who is nobody in here, and the
                    # kernel lets nobody write to what is nobody's
                    os.stat(other.real)
            elif isinstance(other, MountVolume):
                placeholders.claim(other.real)
                volumes[other.path] = _mount_volume(other)
            elif isinstance(other, MountFile):
                placeholders.claim(other.real)
                mount(staged[other.path], other.real, None, MS_BIND)
                mount(None, other.real, None, MS_REMOUNT | MS_BIND | MS_RDONLY | _OURS)
            else:
                _do(other, placeholders)
    return volumes


def _do(step: Mounting, placeholders: Placeholders) -> None:
    match step:
        case MakeOnLaptop(path, is_directory):
            placeholders.make(path, is_directory)
        case Make(path, is_directory):
            _make(path, is_directory)
        case Hide(directory):
            mount("tmpfs", directory, "tmpfs", _OURS, "mode=755")
        case MountPrefix(real):
            placeholders.claim(real)
            mount("tmpfs", real, "tmpfs", _OURS, "mode=755")
        case Show(real, below):
            mount(real, below, None, MS_BIND | MS_REC)
        case Seal(directory, is_volume):
            if is_volume:
                mount(directory, directory, None, MS_BIND | MS_REC)
            mount(None, directory, None, MS_REMOUNT | MS_BIND | MS_RDONLY | _OURS)


def _make(path: str, is_directory: bool) -> None:
    if os.path.lexists(path):  # in a volume of the pod that is there as it is
        return
    directory = path if is_directory else os.path.dirname(path)
    os.makedirs(directory, exist_ok=True)
    if not is_directory:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))


def _mount_live(step: MountVolume) -> int:
    """The descriptor at which the kernel's requests are read and answered
    (Documentation/filesystems/fuse.rst).

    Opened in here: the user namespace of who opens it is that of the mount.
    """
    descriptor = os.open(FUSE_DEVICE, os.O_RDWR | os.O_CLOEXEC)
    owner = f"user_id={os.geteuid()},group_id={os.getegid()}"
    # allow_other: of those who are in this user namespace, as in the pod; podman's has other users, too
    options = f"fd={descriptor},rootmode=40000,{owner},allow_other,max_read={1 << 20}"
    flags = _OURS if step.writable else _OURS | MS_RDONLY
    mount("telepresence", step.real, "fuse", flags, options)
    return descriptor


def _mount_volume(step: MountVolume) -> int:
    mode = "0777" if step.writable else "0755"
    mount("tmpfs", step.real, "tmpfs", _OURS, f"mode={mode}")
    return os.open(step.real, os.O_RDONLY | os.O_DIRECTORY)


@contextmanager
def _staged(contents: Mapping[str, tuple[bytes, int]]) -> Iterator[dict[str, str]]:
    """Files with these contents, as sources for binds: a bind keeps its file when the stage is gone.

    An unnamed file (O_TMPFILE, memfd) cannot be bound, hence a stage.
    """
    mount("tmpfs", _STAGE, "tmpfs", _OURS, "mode=755")
    staged = {path: f"{_STAGE}/{number}" for number, path in enumerate(contents)}
    try:
        for path, (content, mode) in contents.items():
            fd = os.open(staged[path], os.O_CREAT | os.O_WRONLY, 0o600)
            with open(fd, "wb") as file:
                file.write(content)
                os.fchmod(fd, mode)
        yield staged
    finally:
        unmount(_STAGE)


def _cover(step: Cover) -> None:
    """The old directory stays reachable as our working directory while its entries are bound from there.

    One that the user may not look into (/root) has nothing to bind.
    """
    mode = stat.S_IMODE(os.stat(step.directory).st_mode)
    try:
        os.chdir(step.directory)
        entries = [entry for entry in os.scandir(".") if entry.name not in step.without]
    except PermissionError:
        entries = []
    mount("tmpfs", step.directory, "tmpfs", _OURS, f"mode={mode:o}")
    _bind_again(entries, step.directory)
    os.chdir("/")


def _cover_root() -> None:
    """A tmpfs becomes the root: it holds every entry of the old one, which is then let go.

    The stage is bound last: while the tmpfs still stands on it, it would be bound together with that.
    """
    os.chdir("/")
    entries = [entry for entry in os.scandir(".") if f"/{entry.name}" != _STAGE]
    mount("tmpfs", _STAGE, "tmpfs", _OURS, "mode=755")
    _bind_again(entries, _STAGE)
    os.mkdir(_STAGE + _STAGE)
    os.mkdir(_STAGE + _OLD_ROOT)
    os.chdir(_STAGE)
    pivot_root(".", _OLD_ROOT[1:])
    os.chdir("/")
    mount(_OLD_ROOT + _STAGE, _STAGE, None, MS_BIND | MS_REC)
    unmount(_OLD_ROOT)
    os.rmdir(_OLD_ROOT)


def _bind_again(entries: Iterable[os.DirEntry[str]], target: str) -> None:
    """Symbolic links are made anew, everything else is bound, with all mounts below it.

    An entry that vanishes meanwhile, or that the kernel refuses, is left out: nothing can be done about it.
    """
    for entry in entries:
        there = f"{target}/{entry.name}"
        try:
            if entry.is_symlink():
                os.symlink(os.readlink(entry.name), there)
                continue
            _make(there, entry.is_dir(follow_symlinks=False))
            mount(entry.name, there, None, MS_BIND | MS_REC)
        except OSError:
            continue
