"""Operations on the files below one path, done as the laptop asks for them, with the pod's own rights.

Everything blocks: for a thread of its own. Nothing follows a symbolic link at the end of a path: who asks is
a kernel, which follows links itself.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable

from .contract.remote_files import (
    SET_ACCESSED,
    SET_ACCESSED_NOW,
    SET_CHANGED,
    SET_CHANGED_NOW,
    SET_LENGTH,
    SET_MODE,
    Op,
    Request,
    Space,
    encode_contents,
    encode_listing,
)
from .file_tree import SentContents, attributes_of, listings_from

MOST_HANDLES = 512
"""Open files of one volume; the runtime may leave the container 1024."""

_NODES = (stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFREG)
_OPEN_FLAGS = os.O_ACCMODE | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_TRUNC | os.O_SYNC | os.O_DSYNC


class FileOperations:
    """One volume, whose top is `root`; `close` ends it. Not for more than one thread."""

    def __init__(self, root: str) -> None:
        self._root = os.fsencode(root.rstrip("/") or "/")
        self._handles: dict[int, int] = {}
        self._sent = SentContents(self._root)
        self._do: dict[Op, Callable[[Request], bytes]] = {
            Op.LIST: self._list,
            Op.CONTENTS: self._contents,
            Op.STAT: self._stat,
            Op.SET: self._set,
            Op.OPEN: self._open,
            Op.READ: self._read,
            Op.WRITE: self._write,
            Op.CLOSE: self._close,
            Op.SYNC: self._sync,
            Op.MAKE_DIRECTORY: self._make_directory,
            Op.MAKE_NODE: self._make_node,
            Op.MAKE_SYMLINK: self._make_symlink,
            Op.MAKE_LINK: self._make_link,
            Op.RENAME: self._rename,
            Op.REMOVE: self._remove,
            Op.REMOVE_DIRECTORY: self._remove_directory,
            Op.MAY: self._may,
            Op.SPACE: self._space,
        }

    def answer(self, request: Request) -> tuple[int, bytes]:
        """Errno (0 for none) and payload."""
        try:
            return 0, self._do[request.op](request)
        except OSError as error:
            return error.errno or errno.EIO, b""
        except (ValueError, OverflowError):  # a NUL in a path, a number that no call takes
            return errno.EINVAL, b""

    def close(self) -> None:
        while self._handles:
            os.close(self._handles.popitem()[1])

    def _full(self, path: bytes) -> bytes:
        if b".." in path.split(b"/"):
            raise OSError(errno.EINVAL, "a path that leads out")
        return self._root + b"/" + path if path else self._root

    def _descriptor(self, handle: int) -> int:
        try:
            return self._handles[handle]
        except KeyError:
            raise OSError(errno.EBADF, "no such handle") from None

    def _list(self, request: Request) -> bytes:
        found = listings_from(self._root, request.path, request.size)
        return b"".join(map(encode_listing, found))

    def _contents(self, request: Request) -> bytes:
        self._full(request.path)
        return b"".join(map(encode_contents, self._sent.near(request.path, request.size)))

    def _stat(self, request: Request) -> bytes:
        if request.handle:
            return _attributes(os.fstat(self._descriptor(request.handle)))
        return _attributes(os.lstat(self._full(request.path)))

    def _set(self, request: Request) -> bytes:
        flags = request.flags
        place = self._descriptor(request.handle) if request.handle else self._full(request.path)
        if flags & (SET_MODE | SET_LENGTH) and isinstance(place, bytes) and os.path.islink(place):
            raise OSError(errno.EOPNOTSUPP, "that of a link")
        if flags & SET_MODE:
            os.chmod(place, stat.S_IMODE(request.mode))
        if flags & SET_LENGTH:
            os.truncate(place, request.offset)
        if flags & (SET_CHANGED | SET_ACCESSED | SET_CHANGED_NOW | SET_ACCESSED_NOW):
            self._set_times(place, request)
        status = os.fstat(place) if isinstance(place, int) else os.lstat(place)
        return _attributes(status)

    def _set_times(self, place: int | bytes, request: Request) -> None:
        flags = request.flags
        if flags & SET_CHANGED_NOW and flags & SET_ACCESSED_NOW:  # who may write may do that
            if isinstance(place, int):
                os.utime(place)
            else:
                os.utime(place, follow_symlinks=False)
            return
        status = os.fstat(place) if isinstance(place, int) else os.lstat(place)
        clock = 0
        if flags & (SET_CHANGED_NOW | SET_ACCESSED_NOW):
            import time

            clock = time.time_ns()
        accessed = clock if flags & SET_ACCESSED_NOW else request.accessed
        changed = clock if flags & SET_CHANGED_NOW else request.changed
        times = (
            accessed if flags & (SET_ACCESSED | SET_ACCESSED_NOW) else status.st_atime_ns,
            changed if flags & (SET_CHANGED | SET_CHANGED_NOW) else status.st_mtime_ns,
        )
        if isinstance(place, int):
            os.utime(place, ns=times)
        else:
            os.utime(place, ns=times, follow_symlinks=False)

    def _open(self, request: Request) -> bytes:
        if len(self._handles) >= MOST_HANDLES:
            raise OSError(errno.ENFILE, "too many open files")
        flags = request.flags & _OPEN_FLAGS | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        descriptor = os.open(self._full(request.path), flags, request.mode)
        self._handles[request.handle] = descriptor
        return _attributes(os.fstat(descriptor))

    def _read(self, request: Request) -> bytes:
        return os.pread(self._descriptor(request.handle), request.size, request.offset)

    def _write(self, request: Request) -> bytes:
        descriptor, left, offset = self._descriptor(request.handle), memoryview(request.data), request.offset
        while left:
            count = os.pwrite(descriptor, left, offset)
            left, offset = left[count:], offset + count
        return b""

    def _close(self, request: Request) -> bytes:
        descriptor = self._descriptor(request.handle)
        del self._handles[request.handle]
        os.close(descriptor)
        return b""

    def _sync(self, request: Request) -> bytes:
        if request.handle:
            descriptor = self._descriptor(request.handle)
            (os.fdatasync if request.flags & 1 else os.fsync)(descriptor)
            return _attributes(os.fstat(descriptor))
        descriptor = os.open(self._full(request.path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
            return _attributes(os.fstat(descriptor))
        finally:
            os.close(descriptor)

    def _made(self, path: bytes) -> bytes:
        return _attributes(os.lstat(path))

    def _make_directory(self, request: Request) -> bytes:
        path = self._full(request.path)
        os.mkdir(path, stat.S_IMODE(request.mode))
        return self._made(path)

    def _make_node(self, request: Request) -> bytes:
        if stat.S_IFMT(request.mode) not in _NODES:
            raise OSError(errno.EPERM, "a device")
        path = self._full(request.path)
        os.mknod(path, request.mode)
        return self._made(path)

    def _make_symlink(self, request: Request) -> bytes:
        path = self._full(request.path)
        os.symlink(request.other, path)
        return self._made(path)

    def _make_link(self, request: Request) -> bytes:
        path = self._full(request.path)
        os.link(self._full(request.other), path, follow_symlinks=False)
        return self._made(path)

    def _rename(self, request: Request) -> bytes:
        os.rename(self._full(request.path), self._full(request.other))
        return b""

    def _remove(self, request: Request) -> bytes:
        os.unlink(self._full(request.path))
        return b""

    def _remove_directory(self, request: Request) -> bytes:
        os.rmdir(self._full(request.path))
        return b""

    def _may(self, request: Request) -> bytes:
        path = self._full(request.path)
        if not os.access(path, request.mode, effective_ids=True, follow_symlinks=True):
            os.lstat(path)
            writes = request.mode & os.W_OK and os.statvfs(path).f_flag & os.ST_RDONLY
            raise OSError(errno.EROFS if writes else errno.EACCES, "not allowed")
        return b""

    def _space(self, request: Request) -> bytes:
        found = os.statvfs(self._root)
        return Space(
            found.f_blocks,
            found.f_bfree,
            found.f_bavail,
            found.f_files,
            found.f_ffree,
            found.f_frsize,
            found.f_namemax,
        ).encode()


def _attributes(status: os.stat_result) -> bytes:
    return attributes_of(status).encode()
