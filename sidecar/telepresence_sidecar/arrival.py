"""One connection that arrived at a port of the workload, until it has found who answers it."""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

from .contract.frames import Kind, Opening
from .contract.mux import Mux
from .contract.splice import Splice, reset
from .contract.stream import MuxStream
from .sockets import plain_address

KEPT_BYTES = 16 << 10
"""How much of a waiting connection is read ahead; reading also notices when the peer gives up."""

FIRST_RETRY, LONGEST_RETRY = 0.05, 1.0


class ArrivalDesk(Protocol):
    """What an arrival tells whoever keeps it."""

    def arrived(self, arrival: Arrival) -> None: ...
    def turned_away(self, arrival: Arrival) -> None:
        """Nobody took it this time; it waits again, its bytes intact."""

    def joined(self, arrival: Arrival, splice: Splice) -> None: ...
    def gone(self, arrival: Arrival) -> None: ...


class Arrival(asyncio.BufferedProtocol):
    """Keeps the first bytes until somebody has really taken the connection, so that it can be offered again.

    `waiting` tells that it is offered to nobody now. An offer to the laptop sends the kept bytes along.
    """

    def __init__(self, desk: ArrivalDesk, port: int) -> None:
        self.port = port
        self.waiting = True
        self.since = 0.0
        self.retry = FIRST_RETRY
        self._desk = desk
        self._buffer = bytearray(KEPT_BYTES)
        self._filled = 0
        self._ended = False
        self._lost = False
        self._stream: MuxStream | None = None
        self._transport: asyncio.Transport

    @property
    def kept(self) -> bytes:
        return bytes(self._buffer[: self._filled])

    def offer_to_laptop(self, mux: Mux) -> None:
        """Opens a stream for it; ends in `joined` or `turned_away`."""
        self.waiting = False
        peer = self._transport.get_extra_info("peername") or ("", 0)
        opening = Opening(Kind.INBOUND, plain_address(peer[0]), self.port, peer_port=peer[1])
        stream = self._stream = mux.open(opening, self.kept)
        if self._ended:
            stream.write_eof()
        stream.opened.add_done_callback(lambda opened: self._answered(stream, opened.result()))

    async def offer_to(self, addresses: tuple[str, ...], deadline_seconds: float) -> None:
        """Connects to its port at the first address that answers; ends in `joined` or `turned_away`."""
        self.waiting = False
        loop = asyncio.get_running_loop()
        for address in addresses:
            try:
                async with asyncio.timeout(deadline_seconds):
                    await loop.create_connection(lambda: _Original(self), address, self.port)
                return
            except (OSError, TimeoutError):
                continue
        self._turned_away()

    def refuse(self) -> None:
        """Ends it with RST."""
        if not self._lost:
            reset(self._transport)

    def join(self, original: asyncio.Transport) -> None:
        """The original took it."""
        if self._lost:
            reset(original)
            return
        original.write(self.kept)
        if self._ended:
            original.write_eof()
        self._join(original)

    def _answered(self, stream: MuxStream, error: int) -> None:
        self._stream = None
        if self._lost:
            stream.abort()
        elif error:
            self._turned_away()
        else:
            self._join(stream)

    def _turned_away(self) -> None:
        if not self._lost:
            self.waiting = True
            self._desk.turned_away(self)

    def _join(self, other: asyncio.Transport) -> None:
        self._buffer = bytearray()
        splice = Splice(self._transport, other).start(left_ended=self._ended)
        self._desk.joined(self, splice)

    # --- what the socket tells -------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._desk.arrived(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self._buffer)[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        begin, self._filled = self._filled, self._filled + nbytes
        if self._stream is not None:
            self._stream.write(self._buffer[begin : self._filled])
        if self._filled == KEPT_BYTES:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        self._ended = True
        if self._stream is not None:
            self._stream.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        if self._stream is not None:
            self._stream.abort()
        self._desk.gone(self)


class _Original(asyncio.Protocol):
    """Joins in the moment of connecting, so that an original that speaks first is not missed."""

    def __init__(self, arrival: Arrival) -> None:
        self._arrival = arrival

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._arrival.join(cast(asyncio.Transport, transport))
