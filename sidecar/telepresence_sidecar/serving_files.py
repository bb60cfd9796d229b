"""A volume of which the laptop asks operations: what comes on the stream is done by one thread, in order."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import stat
import threading
from collections.abc import Iterable
from contextlib import suppress
from queue import SimpleQueue

from .contract.frames import ProtocolError
from .contract.remote_files import VERSION, PacketReader, Request, decode_request, encode_answer
from .contract.stream import MuxStream
from .file_operations import FileOperations

MOST_WAITING = 1 << 20
"""Bytes of answers that may wait for the loop to take them; else the thread would wait for it each time."""

WHOLE = 64 << 10
"""So many bytes of answers are put together before they are sent."""


def serve_operations(stream: MuxStream, path: str) -> None:
    """Accepts the stream, tells what is at `path` and serves it until the stream ends."""
    report = _report(path)
    stream.accept()
    stream.write(json.dumps(report).encode("ascii") + b"\n")
    if report["refusal"]:
        stream.close()
    else:
        stream.set_protocol(_Serving(stream, FileOperations(path)))


def _report(path: str) -> dict[str, object]:
    """The fields of the laptop's FileReport."""
    report: dict[str, object] = {"path": path, "kind": "missing", "files": 0, "size": 0, "refusal": ""}
    report |= {"unreadable": [], "operations": VERSION, "read_only": False}
    try:
        mode = os.stat(path).st_mode
        report["read_only"] = bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError as error:
        return report | {"refusal": f"it cannot be read: {os.strerror(error.errno or 0)}"}
    if stat.S_ISDIR(mode):
        return report | {"kind": "directory"}
    if stat.S_ISREG(mode):
        return report | {"kind": "file", "refusal": "it is a single file"}
    return report | {"refusal": "it is neither a directory nor a file"}


class _Serving(asyncio.Protocol):
    """The thread does not keep the process alive: a disk may never answer."""

    def __init__(self, stream: MuxStream, operations: FileOperations) -> None:
        self._stream = stream
        self._operations = operations
        self._reader = PacketReader()
        self._loop = asyncio.get_running_loop()
        self._asked: SimpleQueue[list[tuple[int, Request]] | None] = SimpleQueue()
        self._may_write = threading.Event()
        self._may_write.set()
        self._full = self._over = False
        self._waiting = 0  # bytes on their way to the loop
        self._counting = threading.Lock()
        threading.Thread(target=self._work, daemon=True).start()

    def data_received(self, data: bytes) -> None:
        try:
            asked = [decode_request(packet) for packet in self._reader.feed(data)]
        except ProtocolError:
            self._stream.abort(errno.EPROTO)
            return
        if asked:
            self._asked.put(asked)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        with self._counting:
            self._over = True
            self._decide()
        self._asked.put(None)

    def pause_writing(self) -> None:
        with self._counting:
            self._full = True
            self._decide()

    def resume_writing(self) -> None:
        with self._counting:
            self._full = False
            self._decide()

    def _decide(self) -> None:
        """Whether the thread may go on; under the lock."""
        if self._over or not (self._full or self._waiting > MOST_WAITING):
            self._may_write.set()
        else:
            self._may_write.clear()

    def _work(self) -> None:
        """The thread."""
        while (asked := self._asked.get()) is not None:
            self._answer(asked)
        self._operations.close()

    def _answer(self, asked: Iterable[tuple[int, Request]]) -> None:
        """In the thread. The stream is the loop's, so answers go there in few pieces."""
        ready: list[bytes] = []
        size = 0
        for number, request in asked:
            self._may_write.wait()
            if self._over:
                return
            answer = encode_answer(number, *self._operations.answer(request))
            ready.append(answer)
            size += len(answer)
            if size >= WHOLE:
                self._hand_over(b"".join(ready))
                ready, size = [], 0
        if ready:
            self._hand_over(b"".join(ready))

    def _hand_over(self, data: bytes) -> None:
        """What comes next waits until the stream has taken most of it, and is not full."""
        with self._counting:
            self._waiting += len(data)
            if self._waiting > MOST_WAITING:
                self._may_write.clear()
        with suppress(RuntimeError):  # the loop has ended, and the process ends
            self._loop.call_soon_threadsafe(self._write, data)

    def _write(self, data: bytes) -> None:
        if not self._stream.is_closing():
            self._stream.write(data)
        with self._counting:
            self._waiting -= len(data)
            self._decide()
