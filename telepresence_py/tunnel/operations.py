"""Operations on files of the pod: requests out, answers in, on one stream."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from collections import deque

from telepresence_py.tunnel.files import parse_report
from telepresence_py.tunnel.interface import FileReport
from telepresence_sidecar.contract.frames import ProtocolError
from telepresence_sidecar.contract.remote_files import (
    VERSION,
    PacketReader,
    Request,
    decode_answer,
    encode_request,
)
from telepresence_sidecar.contract.stream import MuxStream


def operations_request(path: str) -> bytes:
    """What opens the stream. A sidecar that is too old takes it for the request of a copy of nothing."""
    request = {"path": path, "max_bytes": 0, "max_files": 0, "operations": VERSION}
    return json.dumps(request).encode()


class LiveOperations(asyncio.Protocol):
    """A FileOperations, and the protocol of its stream. `report` is there after `wait_report`."""

    report: FileReport

    def __init__(self, stream: MuxStream) -> None:
        self._stream = stream
        self._line: bytes | None = b""
        self._reported: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reader = PacketReader()
        self._number = 0
        self._waiting: deque[tuple[int, asyncio.Future[bytes]]] = deque()
        self._lost = False
        stream.set_protocol(self)

    async def wait_report(self) -> None:
        """OSError as `Tunnel.operations` says."""
        await self._reported
        if self.report.operations != VERSION:
            raise OSError(errno.ENOTSUP, "the sidecar's image is too old for it")
        if self.report.refusal:
            is_file = self.report.kind == "file"
            raise OSError(errno.ENOTDIR if is_file else errno.ENOENT, self.report.refusal)

    def send(self, request: Request) -> asyncio.Future[bytes]:
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        if self._lost:
            future.set_exception(_lost())
            return future
        self._number = (self._number + 1) & 0xFFFFFFFF
        self._waiting.append((self._number, future))
        for piece in encode_request(self._number, request):
            self._stream.write(piece)
        return future

    def is_lost(self) -> bool:
        return self._lost

    def close(self) -> None:
        self._stream.abort()
        self._end()

    # --- what the stream tells -------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._line is not None:
            line, newline, data = (self._line + data).partition(b"\n")
            self._line = None if newline else line
            if newline:
                self.report = parse_report(line)
                if not self._reported.done():
                    self._reported.set_result(None)
        try:
            for packet in self._reader.feed(data) if self._line is None else ():
                self._answered(*decode_answer(packet))
        except ProtocolError:
            self.close()

    def _answered(self, number: int, error: int, payload: bytes) -> None:
        if not self._waiting or self._waiting[0][0] != number:
            raise ProtocolError("an answer to no question")
        _number, future = self._waiting.popleft()
        if future.done():  # who asked was cancelled
            return
        if error:
            future.set_exception(OSError(error, os.strerror(error)))
        else:
            future.set_result(payload)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    def _end(self) -> None:
        self._lost = True
        if not self._reported.done():
            self._reported.set_exception(_lost())
        while self._waiting:
            _number, future = self._waiting.popleft()
            if not future.done():
                future.set_exception(_lost())


def _lost() -> OSError:
    return OSError(errno.EIO, "the link to the pod was lost")
