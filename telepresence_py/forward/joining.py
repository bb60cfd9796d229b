"""Connected sockets joined to streams of the tunnel or to each other, and all of them ended together.

The bytes are relayed by the contract's Splice; here are its lifetimes, and the care that nothing is read
before there is somewhere to write it.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import struct
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from telepresence_py.tunnel.interface import MuxStream, Splice

log = logging.getLogger(__name__)

_NO_LINGER = struct.pack("ii", 1, 0)


def reset_socket(connection: socket.socket) -> None:
    """Close so that the peer sees an error (RST), not an orderly end. Never raises."""
    with suppress(OSError):  # it is gone already
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    connection.close()


class Joints:
    """The living pairs of one service, and the tasks that are about to make one. Ended by `abort`."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._splices: set[Splice] = set()
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._splices) + len(self._tasks)

    def abort(self) -> None:
        """End every connection with a reset."""
        for task in tuple(self._tasks):
            task.cancel()
        for splice in tuple(self._splices):
            splice.abort()

    def start(self, work: Coroutine[Any, Any, object]) -> None:
        """Run work that ends in a pair, or not; `abort` cancels it. Its errors end one connection only."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def to_stream(self, connection: socket.socket, stream: MuxStream) -> Splice:
        """Joins a connected, non-blocking socket to a stream and takes both over, whatever happens."""
        try:
            made = _Made(lambda transport: self._splice(transport, stream))
            await self._loop.connect_accepted_socket(lambda: made, connection)
        except BaseException:
            stream.abort(errno.ECONNABORTED)
            reset_socket(connection)
            raise
        return made.splice

    async def hold(self, connection: socket.socket) -> Held:
        """Takes over a connected, non-blocking socket, whatever happens, and reads nothing of it yet."""
        held = Held()
        try:
            await self._loop.connect_accepted_socket(lambda: held, connection)
        except BaseException:
            reset_socket(connection)
            raise
        # Python before 3.11.5 begins to read though `connection_made` paused it; now nothing was read yet
        held.transport.resume_reading()
        held.transport.pause_reading()
        return held

    def held_to_stream(self, held: Held, stream: MuxStream) -> Splice:
        """Joins what was held to a stream and takes both over; at once, nothing is waited for."""
        return self._splice(held.transport, stream)

    async def to_socket(self, left: socket.socket, right: socket.socket) -> Splice:
        """Joins two connected, non-blocking sockets and takes both over, whatever happens."""
        try:
            held = await self.hold(right)
            made = _Made(lambda other: self._splice(held.transport, other))
            await self._loop.connect_accepted_socket(lambda: made, left)
        except BaseException:
            reset_socket(left)
            reset_socket(right)
            raise
        return made.splice

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.debug("a connection could not be relayed", exc_info=task.exception())

    def _splice(self, left: asyncio.Transport, right: asyncio.Transport) -> Splice:
        splice = Splice(left, right)
        self._splices.add(splice)
        splice.done.add_done_callback(lambda _: self._splices.discard(splice))
        return splice.start()


class _Made(asyncio.Protocol):
    """Splices a transport the moment it is made: it has not read anything then."""

    def __init__(self, on_made: Callable[[asyncio.Transport], Splice]) -> None:
        self._on_made = on_made
        self.splice: Splice

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.splice = self._on_made(transport)


class Held(asyncio.Protocol):
    """A transport that reads nothing until there is another side: bytes, end and errors stay the kernel's."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.pause_reading()
