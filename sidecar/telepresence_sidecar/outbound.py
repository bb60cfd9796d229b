"""From the laptop outwards: TCP connections and UDP flows that begin in the pod."""

from __future__ import annotations

import asyncio
import errno
from typing import cast

from .contract.splice import Splice, reset
from .contract.stream import MuxStream
from .sockets import errno_of

CONNECT_SECONDS = 60.0
"""The child's own connect has a deadline of its own, mostly shorter; this one is against leaks."""

IDLE_SECONDS = 120.0
"""A UDP flow that nobody used for so long ends; that is twice as long as the laptop keeps it."""

_UDP_BACKLOG = 1 << 20


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


class _Flow(asyncio.DatagramProtocol, asyncio.Protocol):
    """Between one datagram stream and one connected UDP socket; each side's protocol."""

    def __init__(self, stream: MuxStream, idle_seconds: float) -> None:
        self._stream = stream
        self._idle_seconds = idle_seconds
        self._loop = asyncio.get_running_loop()
        self._used = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._socket: asyncio.DatagramTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._socket = cast(asyncio.DatagramTransport, transport)
        self._stream.accept()
        self._stream.set_protocol(self)
        self._check_idle()

    def data_received(self, data: bytes) -> None:
        self._used = self._loop.time()
        waiting = cast(asyncio.WriteTransport, self._socket).get_write_buffer_size()
        if waiting < _UDP_BACKLOG:
            self._socket.sendto(data)

    def eof_received(self) -> bool:
        self._socket.close()
        return False

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._used = self._loop.time()
        self._stream.write(data)

    def error_received(self, exc: Exception) -> None:
        code = getattr(exc, "errno", None)
        if code != errno.EMSGSIZE:  # that one datagram was too long; the flow goes on
            self._stream.abort(code or errno.EIO)

    def connection_lost(self, exc: Exception | None) -> None:
        """Of either side."""
        if self._timer is not None:
            self._timer.cancel()
        self._socket.close()
        self._stream.abort()

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
    loop = asyncio.get_running_loop()
    try:
        await loop.create_datagram_endpoint(
            lambda: _Flow(stream, idle_seconds), remote_addr=(opening.host, opening.port)
        )
    except OSError as error:
        stream.refuse(errno_of(error))
