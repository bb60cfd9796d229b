"""The watcher of files, seen from the CLI: a process of its own, as it needs threads and time to load.

A line of JSON each: the paths go to it once; `watching`, `changed` and `failed` come back.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from telepresence_py.process.own_program import start_own_program

PROGRAM = "telepresence_py.process.watcher"

_CHUNK = 1 << 16


@dataclass(frozen=True)
class Watching:
    """From now on no change is missed. `polling`: why the kernel does not tell of changes; mostly empty."""

    polling: str = ""


@dataclass(frozen=True)
class Changed:
    """`path` is one of those that changed since the last time."""

    path: str


@dataclass(frozen=True)
class WatchFailed:
    """No change will be told; `reason` says why."""

    reason: str


Said = Watching | Changed | WatchFailed

_SAID: dict[str, type[Said]] = {"watching": Watching, "changed": Changed, "failed": WatchFailed}


class Watcher:
    """A watcher that runs; `fileno` to wait on. It ends by `close`, or with this process.

    Made by the main thread: it dies with the thread that made it.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self._sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            self._program = start_own_program(PROGRAM, theirs.fileno())
        self._sock.sendall(json.dumps(list(paths)).encode() + b"\n")
        self._rest = b""
        self._closed = False

    def fileno(self) -> int:
        return self._sock.fileno()

    def read(self) -> list[Said]:
        """What it said, once `fileno` is readable. After `WatchFailed` nothing comes any more."""
        try:
            data = self._sock.recv(_CHUNK)
        except ConnectionResetError:
            data = b""
        if not data:
            return [WatchFailed("the process that watches them ended")]
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [_decode(line) for line in lines]

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._sock.close()
            self._program.kill()
            self._program.finish()


def encode(said: Said) -> bytes:
    """One line, newline included."""
    tag = next(tag for tag, cls in _SAID.items() if isinstance(said, cls))
    return json.dumps({"is": tag, **vars(said)}).encode() + b"\n"


def _decode(line: bytes) -> Said:
    fields = json.loads(line)
    return _SAID[fields.pop("is")](**fields)
