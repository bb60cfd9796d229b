"""Files of the pod as they come in: the report line, then the tar stream, taken by trio at its own pace."""

from __future__ import annotations

import asyncio
import errno
import json
from collections import deque
from collections.abc import AsyncGenerator

import trio

from telepresence_py.tunnel.interface import FileReport
from telepresence_sidecar.contract.stream import MuxStream

_AHEAD = 1 << 20
"""Bytes that may wait here for their reader."""


class IncomingFiles(asyncio.Protocol):
    """A PodFiles, and the protocol of its stream. `report` is there after `wait_report`."""

    report: FileReport

    def __init__(self, stream: MuxStream) -> None:
        self._stream = stream
        self._line = b""
        self._has_report = False
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._error: Exception | None = None
        self._news = trio.Event()

    async def wait_report(self) -> None:
        """OSError when the stream ends before."""
        while not self._has_report:
            await self._wait()

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        while True:
            while self._chunks:
                chunk = self._chunks.popleft()
                self._size -= len(chunk)
                if self._size < _AHEAD // 2:
                    self._stream.resume_reading()
                yield chunk
            if self._ended:
                return
            await self._wait()

    async def _wait(self) -> None:
        if self._error is not None:
            raise self._error
        await self._news.wait()
        self._news = trio.Event()

    # --- what the stream tells -------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if not self._has_report:
            line, newline, data = (self._line + data).partition(b"\n")
            if not newline:
                self._line = line
                return
            self.report = parse_report(line)
            self._has_report = True
        if data:
            self._chunks.append(data)
            self._size += len(data)
            if self._size > _AHEAD:
                self._stream.pause_reading()
        self._news.set()

    def eof_received(self) -> bool:
        self._ended = self._has_report
        self._news.set()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._ended:
            self._error = exc or ConnectionResetError(errno.ECONNRESET, "the files broke off")
            self._news.set()


def parse_report(line: bytes) -> FileReport:
    """The first line of a FILES stream."""
    fields = json.loads(line)
    return FileReport(**{**fields, "unreadable": tuple(fields["unreadable"])})
