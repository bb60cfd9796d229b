"""A protocol that remembers everything it heard."""

from __future__ import annotations

import asyncio

from tests.fakes.loop import at_end


class Recorder(asyncio.Protocol):
    """`received` joins the data, `pieces` keeps it apart; `lost` is done when the connection is."""

    def __init__(self, keep_open: bool = True) -> None:
        self.transport: asyncio.Transport | None = None
        self.pieces: list[bytes] = []
        self.size = 0
        self.eof = asyncio.Event()
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.paused = False
        self._keep_open = keep_open

    @property
    def received(self) -> bytes:
        return b"".join(self.pieces)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        at_end.append(transport.abort)

    def data_received(self, data: bytes) -> None:
        self.pieces.append(data)
        self.size += len(data)

    def eof_received(self) -> bool:
        self.eof.set()
        return self._keep_open

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False

    def connection_lost(self, reason: Exception | None) -> None:
        self.lost.set_result(reason)
