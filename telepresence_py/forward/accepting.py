"""Accepting connections on listeners that somebody else made and owns."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable

log = logging.getLogger(__name__)

AT_ONCE = 64
"""Connections taken from one listener before others get their turn."""

PAUSE_SECONDS = 0.2
"""After an error that lasts (no descriptors, no memory): asking again at once would spin."""


class Accepting:
    """Calls `on_connection(socket)` for each connection until `close`; the socket is non-blocking and the
    callee's. The listeners stay open. An error of accept(2) never ends it: connections wait in the kernel's
    backlog. To be made where an asyncio loop runs.
    """

    def __init__(
        self, listeners: Iterable[socket.socket], on_connection: Callable[[socket.socket], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_connection = on_connection
        self._pauses: dict[socket.socket, asyncio.TimerHandle] = {}
        self._listeners = tuple(listeners)
        for listener in self._listeners:
            listener.setblocking(False)
            self._resume(listener)

    def close(self) -> None:
        for pause in self._pauses.values():
            pause.cancel()
        for listener in self._listeners:
            self._loop.remove_reader(listener)

    def _resume(self, listener: socket.socket) -> None:
        self._pauses.pop(listener, None)
        self._loop.add_reader(listener, self._readable, listener)

    def _readable(self, listener: socket.socket) -> None:
        for _ in range(AT_ONCE):
            try:
                connection, _ = listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                log.warning("cannot accept a connection, trying again in %s s: %s", PAUSE_SECONDS, error)
                self._loop.remove_reader(listener)
                self._pauses[listener] = self._loop.call_later(PAUSE_SECONDS, self._resume, listener)
                return
            connection.setblocking(False)
            self._on_connection(connection)
