"""From the laptop outwards: TCP connections and UDP flows that begin in the pod."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import cast

from .contract.splice import Splice, reset
from .contract.stream import MuxStream
from .sockets import errno_of

CONNECT_SECONDS = 60.0
"""The child's own connect has a deadline of its own, mostly shorter; this one is against leaks."""

IDLE_SECONDS = 120.0
"""A UDP flow that nobody used for so long ends; that is twice as long as the laptop keeps it."""

_BURST = 32
"""Datagrams that one flow may read before others have their turn."""

_HARMLESS = frozenset({errno.EAGAIN, errno.EMSGSIZE, errno.ENOBUFS})


class _Dialled(asyncio.Protocol):
    """Splices in the moment of connecting, so that a peer that speaks first is not missed."""

    def __init__(self, stream: MuxStream) -> None:
        self._stream = stream

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        connection = cast(asyncio.Transport, transport)
        if self._stream.is_closing():
            reset(connection)
            return
        self._stream.accept()
        Splice(connection, self._stream).start()


class _GivenUp(asyncio.Protocol):
    """Ends a dial that nobody waits for any more."""

    def __init__(self, dial: asyncio.Task[None] | None) -> None:
        self._dial = dial

    def connection_lost(self, exc: Exception | None) -> None:
        if self._dial is not None:
            self._dial.cancel()


async def connect(stream: MuxStream) -> None:
    """Connects to the stream's host and port, and splices; refuses the stream with the errno of connect(2).
    A task of its own: it is cancelled when the laptop gives the stream up meanwhile."""
    opening = stream.opening
    loop = asyncio.get_running_loop()
    stream.pause_reading()
    stream.set_protocol(_GivenUp(asyncio.current_task()))
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await loop.create_connection(lambda: _Dialled(stream), opening.host, opening.port)
    except TimeoutError:
        stream.refuse(errno.ETIMEDOUT)
    except OSError as error:
        stream.refuse(errno_of(error))


class _Flow(asyncio.Protocol):
    """Between one datagram stream, whose protocol it is, and one connected UDP socket, which it owns.

    Not asyncio's datagram transport: that swallows empty datagrams, and queues where UDP would drop.
    """

    def __init__(self, stream: MuxStream, connected: socket.socket, idle_seconds: float) -> None:
        self._stream = stream
        self._socket = connected
        self._idle_seconds = idle_seconds
        self._loop = asyncio.get_running_loop()
        self._used = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._loop.add_reader(self._socket, self._readable)
        self._check_idle()
        self._stream.accept()
        self._stream.set_protocol(self)

    def data_received(self, data: bytes) -> None:
        self._used = self._loop.time()
        try:
            self._socket.send(data)
        except OSError as error:
            self._failed(error)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _readable(self) -> None:
        self._used = self._loop.time()
        try:
            for _ in range(_BURST):
                self._stream.write(self._socket.recv(1 << 16))
        except OSError as error:
            self._failed(error)

    def _failed(self, error: OSError) -> None:
        """A full socket drops, one datagram may be too long; anything else (ICMP) ends the flow."""
        if error.errno not in _HARMLESS:
            self._stream.abort(error.errno or errno.EIO)

    def _check_idle(self) -> None:
        idle = self._loop.time() - self._used
        if idle >= self._idle_seconds:
            self._stream.abort(errno.ETIMEDOUT)
        else:
            self._timer = self._loop.call_later(self._idle_seconds - idle, self._check_idle)


async def datagrams(stream: MuxStream, idle_seconds: float = IDLE_SECONDS) -> None:
    """A UDP flow to the stream's host and port. An ICMP error ends it with its errno, disuse with
    ETIMEDOUT."""
    opening = stream.opening
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            opening.host, opening.port, type=socket.SOCK_DGRAM
        )
        family, kind, protocol, _, address = found[0]
        connected = socket.socket(family, kind, protocol)
        try:
            connected.setblocking(False)
            connected.connect(address)
        except OSError:
            connected.close()
            raise
    except OSError as error:
        stream.refuse(errno_of(error))
        return
    _Flow(stream, connected, idle_seconds).start()
