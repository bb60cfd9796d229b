"""Has the child accepted a connection? Until it has, the connection is the kernel's alone, and safe.

The kernel completes a connection as soon as it finds a listener, and resets it if that ends before anybody
accepted. So nothing is sent, and nobody told, before the kernel says that the child has the connection: what
never came to the child can be given to whoever listens next.

A listener's connections are accepted in their order. So it is the oldest that is asked for, often while the
child is quick; how many wait behind it matters little. Only where several listeners share a port
(SO_REUSEPORT) may another be next: the others are asked for in turn, more rarely.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Protocol

from telepresence_py.forward.alarm import Alarm
from telepresence_py.forward.packets import Endpoint
from telepresence_py.model.world import Reception

SHORTEST_PAUSE = 0.0002
"""Seconds between two questions for the oldest."""

LONGEST_PAUSE = 0.008

PAUSE_SHARE = 8
"""In between, a pause is such a part of the time since the child last accepted: so much slower is at most a
child that takes one connection after the other, having to wait for the bytes of each."""

ASIDE_SECONDS = 0.001
ASIDE_COUNT = 4
"""So often so many others are asked for."""

PATIENCE_SECONDS = 45.0
"""After so long a wait (the child stands at a breakpoint) the connection counts as accepted all the same: the
pod would soon have held it for as long as it may, and reset it."""

UNSEEN_SECONDS = 0.1
"""A connection that stands though the kernel knows nothing of the child's end is one that its listener
completes only when bytes come (SYN cookies)."""


class Diagnosis(Protocol):
    """What the kernel of the child's world says; OSError when it says nothing."""

    def reception(self, child_end: Endpoint, our_end: Endpoint) -> Reception: ...

    def listeners(self) -> dict[int, frozenset[int]]:
        """Port -> a number for each socket that listens on it, never given to another socket."""


class Handover:
    """asyncio. `close` once nobody waits any more."""

    def __init__(self, diagnosis: Diagnosis) -> None:
        self._diagnosis = diagnosis
        self._lines: dict[Endpoint, _Line] = {}

    def close(self) -> None:
        for line in self._lines.values():
            line.close()

    async def accepted(
        self, connection: socket.socket, child_end: Endpoint, given_up: Callable[[], bool]
    ) -> None:
        """Returns once the child has accepted a connection that stands, or wants bytes before it does.

        OSError if that will not happen: ECONNRESET when the connection was reset (by the end of its listener,
        or by a child too quick to be seen), ECONNABORTED when `given_up()`. Nothing has been sent then.
        """
        line = self._lines.get(child_end)
        if line is None:
            line = self._lines[child_end] = _Line(self._diagnosis, child_end)
        await line.wait(_Waiting(connection, given_up))

    def may_accept_next(self, child_end: Endpoint) -> None:
        """A hint that saves the child a pause: it has done with one of its connections."""
        self._lines[child_end].look()


class _Waiting:
    def __init__(self, connection: socket.socket, given_up: Callable[[], bool]) -> None:
        loop = asyncio.get_running_loop()
        self.connection = connection
        self.our_end = Endpoint(*connection.getsockname()[:2])
        self.given_up = given_up
        self.since = loop.time()
        self.settled: asyncio.Future[None] = loop.create_future()


class _Line:
    """Those that wait at one end of the child's, the oldest first."""

    def __init__(self, diagnosis: Diagnosis, child_end: Endpoint) -> None:
        self._diagnosis = diagnosis
        self._child_end = child_end
        self._time = asyncio.get_running_loop().time
        self._alarm = Alarm(self.look)
        self._waiting: dict[_Waiting, None] = {}
        self._moved = 0.0
        self._looked_aside = 0.0
        self._turn = 0

    def close(self) -> None:
        self._alarm.close()

    async def wait(self, newcomer: _Waiting) -> None:
        if not self._waiting:
            self._moved = self._time()
        self._waiting[newcomer] = None
        try:
            self.look()
            await newcomer.settled
        finally:
            self._waiting.pop(newcomer, None)

    def look(self) -> None:
        now = self._time()
        while self._waiting and self._settle(next(iter(self._waiting)), now):
            self._moved = now
        if len(self._waiting) > 1 and now - self._looked_aside > ASIDE_SECONDS:
            self._looked_aside = now
            self._look_aside(now)
        if self._waiting:
            self._alarm.within(min(LONGEST_PAUSE, max(SHORTEST_PAUSE, (now - self._moved) / PAUSE_SHARE)))

    def _look_aside(self, now: float) -> None:
        others = list(self._waiting)[1:]
        turns = range(self._turn, self._turn + min(ASIDE_COUNT, len(others)))
        for turn in turns:
            if self._settle(others[turn % len(others)], now):
                self._moved = now
        self._turn = turns.stop % len(others)

    def _settle(self, waiting: _Waiting, now: float) -> bool:
        try:
            if waiting.given_up():
                raise ConnectionAbortedError(errno.ECONNABORTED, "the client gave up")
            if not self._is_accepted(waiting, now):
                return False
        except OSError as error:
            if not waiting.settled.done():
                waiting.settled.set_exception(error)
        else:
            if not waiting.settled.done():
                waiting.settled.set_result(None)
        del self._waiting[waiting]
        return True

    def _is_accepted(self, waiting: _Waiting, now: float) -> bool:
        try:
            reception = self._diagnosis.reception(self._child_end, waiting.our_end)
        except OSError:  # not to be told: as though there were no diagnosis
            return True
        if reception is Reception.QUEUED:
            return now - waiting.since > PATIENCE_SECONDS
        if reception in {Reception.TAKEN, Reception.DEFERRED} or _spoke(waiting.connection):
            return True
        if reception is Reception.NOBODY:
            raise ConnectionResetError(errno.ECONNRESET, "the listener is gone")
        return now - waiting.since > UNSEEN_SECONDS


def _spoke(connection: socket.socket) -> bool:
    """Whether bytes or an end came, as only a child sends them. OSError when the connection is reset."""
    try:
        connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    return True
