"""One link of a mux, and what waits to be sent over it.

A bulk transfer fills every queue between the two ends, and whatever comes behind it waits there. So a mux
may have a second lane for those that send much: another link, over another connection. A stream changes lanes
at any time; the other end brings its bytes in order again (`ordering`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from .frames import Frame
from .schedule import Schedule

BATCH = 112 << 10
"""Bytes in one write to the wire; frames of several streams share it."""


class Wire(Protocol):
    """What carries a lane; it calls the lane's `received`, `drained` and `wire_lost`, and sets
    `round_trip`."""

    sent: int
    """Bytes written since the beginning."""

    acked: int
    """So many of them have arrived."""

    def write(self, frames: list[bytes | memoryview], more: bool) -> None:
        """Whole frames, each in any number of pieces; the list is the wire's from then on. `more`: there
        would be more to send, had there been room."""

    def room(self) -> int:
        """Bytes that may be written now without queueing much; `drained` follows when it was 0 or less."""

    def abort(self) -> None:
        """End now; `wire_lost` may follow."""


class Sender(Protocol):
    """What a lane needs of a stream."""

    sent_until: int
    """Where the last bytes that it sent ended, as the wire counts."""

    def take(self, out: list[bytes | memoryview]) -> tuple[int, bool]: ...


class LaneOwner(Protocol):
    """What a lane needs of its mux."""

    loop: asyncio.AbstractEventLoop
    lost: asyncio.Future[Exception | None]

    def received(self, frame: Frame, lane: Lane) -> None: ...
    def wire_lost(self, reason: Exception | None) -> None: ...


class Lane:
    """Made and ended by its mux. `beyond` is the lane for those that send much, `first` the one for all
    others."""

    def __init__(self, owner: LaneOwner, wire: Wire, first: Lane | None = None) -> None:
        self.round_trip = 0.05
        self.wire = wire
        self.first = first or self
        self.beyond: Lane | None = None
        self.wire_lost: Callable[[Exception | None], None] = owner.wire_lost
        self._owner = owner
        self._control: list[bytes | memoryview] = []
        self._schedule: Schedule[Sender] = Schedule()
        self._flush_due = False
        self._flushed = False  # in this turn of the loop, or the one before

    # --- what streams call -----------------------------------------------------------------------------

    def send_control(self, frame: bytes) -> None:
        """It goes before all that waits in streams."""
        if not self._owner.lost.done():
            self._control.append(frame)
            self._wake()

    def want_turn(self, stream: Sender, queued: int) -> None:
        self._schedule.wake(stream, queued)
        self._wake()

    def move_in(self, stream: Sender, frame: bytes, queued: int) -> None:
        """As `want_turn`; `frame`, its MOVE, goes before."""
        self._control.append(frame)
        self.want_turn(stream, queued)

    def has_delivered(self, stream: Sender) -> bool:
        """Whether the other end has all that it sent."""
        return self.wire.acked >= stream.sent_until

    # --- what the wire calls ---------------------------------------------------------------------------

    def received(self, frame: Frame) -> None:
        self._owner.received(frame, self)

    def drained(self) -> None:
        """The wire has room again."""
        self._wake()

    # --- inside ----------------------------------------------------------------------------------------

    def _wake(self) -> None:
        """The first word of a turn goes at once, what follows goes together."""
        if self._flush_due or self._owner.lost.done():
            return
        if self._flushed:
            self._flush_due = True
        else:
            self._flushed = True
            self._owner.loop.call_soon(self._turn)
            self._flush()

    def _turn(self) -> None:
        self._flushed = False
        if self._flush_due:
            self._flush_due = False
            self._wake()

    def _flush(self) -> None:
        data: list[bytes | memoryview] = []
        took: list[Sender] = []

        def take(stream: Sender) -> tuple[int, bool]:
            took.append(stream)
            return stream.take(data)

        self._schedule.run(min(self.wire.room(), BATCH), take)
        batch, self._control = self._control, []
        batch += data
        more = len(self._schedule) > 0
        if batch:
            self.wire.write(batch, more)
            for stream in took:
                stream.sent_until = self.wire.sent
        if more and self.wire.room() > 0:
            self._flush_due = True
