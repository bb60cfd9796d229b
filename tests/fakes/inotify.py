"""inotify(7), as a program that reloads its configuration uses it."""

from __future__ import annotations

import ctypes
import os
import select
import struct
from types import TracebackType
from typing import Self

_EVENT = struct.Struct("iIII")
_libc = ctypes.CDLL(None, use_errno=True)

CREATE, DELETE, MOVED_FROM, MOVED_TO = 0x100, 0x200, 0x40, 0x80
_NAMES = {CREATE: "create", DELETE: "delete", MOVED_FROM: "moved from", MOVED_TO: "moved to"}


class Watch:
    """What happens in a directory from now on: files that come, go and are renamed."""

    def __init__(self, directory: str) -> None:
        self._descriptor = _libc.inotify_init1(os.O_CLOEXEC)
        mask = CREATE | DELETE | MOVED_FROM | MOVED_TO
        if (
            self._descriptor < 0
            or _libc.inotify_add_watch(self._descriptor, os.fsencode(directory), mask) < 0
        ):
            raise OSError(ctypes.get_errno(), f"cannot watch {directory}")

    def events(self, last: tuple[str, str] | None = None, seconds: float = 10.0) -> list[tuple[str, str]]:
        """All (what, name), up to `last`; TimeoutError when that does not come. Without it, those so far."""
        seen: list[tuple[str, str]] = []
        while last is None or last not in seen:
            if not select.select([self._descriptor], [], [], 0 if last is None else seconds)[0]:
                if last is None:
                    return seen
                raise TimeoutError(f"{last} did not come after {seen}")
            data = os.read(self._descriptor, 65536)
            while data:
                _, mask, _, length = _EVENT.unpack_from(data)
                name = data[_EVENT.size : _EVENT.size + length].rstrip(b"\0").decode()
                seen.append((next(text for bit, text in _NAMES.items() if mask & bit), name))
                data = data[_EVENT.size + length :]
        return seen

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)
