"""One stream of the mux, in the shape of an asyncio transport, so that what relays sockets relays streams.

Rules of this file: no user code (protocol callbacks) runs inside `take`, which the mux calls while it fills a
batch; what must be told later goes through `call_soon`. Every path to the end passes `_lose` exactly once.
"""

from __future__ import annotations

import asyncio
import errno as errors
import os
from collections import deque
from typing import Any, Protocol

from .credit import INITIAL_WINDOW, ReceiveWindow, SendCredit, SpareCredit
from .frames import (
    DATAGRAM_KINDS,
    HEADER,
    REQUEST_KINDS,
    FrameType,
    Opening,
    encode,
    encode_number,
    encode_total,
)
from .lane import Lane
from .ordering import Ordering
from .schedule import QUANTUM, SMALL

HIGH_WATER = 256 << 10
LOW_WATER = 128 << 10

MUCH = 256 << 10
"""Bytes; who sends so many, and never has only a word to say meanwhile, goes to another lane."""

MUCH_SECONDS = 1.0
"""In a longer time it is not much."""

_MOST_CREDIT = (1 << 32) - 1


class StreamOwner(Protocol):
    """What a stream needs of its mux."""

    loop: asyncio.AbstractEventLoop
    spare: SpareCredit

    def much(self) -> None:
        """It has much to send or to receive."""

    def forget(self, stream: MuxStream) -> None: ...


class MuxStream(asyncio.Transport):
    """A connection (or datagram flow) through the tunnel.

    As any transport it belongs to whoever opened or accepted it: end it with `close` or `abort`. The
    protocol hears `connection_lost(None)` after one's own `close` or `abort`, and
    `connection_lost(OSError)` with the peer's errno after a reset, or ECONNRESET when the tunnel is lost.
    What arrives before `set_protocol` is kept, within the window.

    On datagram streams each `write` is one datagram, never merged or split, dropped while too many wait.
    """

    def __init__(
        self, mux: StreamOwner, lane: Lane, number: int, opening: Opening, window: ReceiveWindow
    ) -> None:
        super().__init__({"opening": opening, "peername": (opening.host, opening.peer_port or opening.port)})
        self.number = number
        self.opening = opening
        self.opened: asyncio.Future[int] = mux.loop.create_future()
        """0 once the other end took the stream, else the errno; never an exception."""
        self.sent_until = 0
        self._mux = mux
        self._lane = lane
        self._heard_in = lane
        self._burst = 0  # bytes sent since it last paused
        self._burst_since = mux.loop.time()
        self.order: Ordering[Lane] = Ordering()
        self._window = window
        self._datagrams = opening.kind in DATAGRAM_KINDS
        self._protocol: asyncio.Protocol | None = None
        self._outgoing: deque[bytes | memoryview] = deque()
        self._outgoing_size = 0
        self._credit = SendCredit(mux.spare)
        self._sent = 0
        self._scheduled = False
        self._high, self._low = HIGH_WATER, LOW_WATER
        self._writing_paused = False
        self._incoming: deque[bytes] = deque()
        self._reading_paused = False
        self._eof_wanted = self._eof_sent = self._eof_received = self._eof_told = False
        self._answered = False
        self._closing = False
        self._gone = False
        self._lost = self._lost_told = False
        self._lost_reason: OSError | None = None

    # --- what its user calls -------------------------------------------------------------------------

    def accept(self) -> None:
        """Take a stream that the other end opened; the opener's `opened` becomes 0."""
        if not self._answered and not self._gone:
            self._answered = True
            self._lane.send_control(encode(FrameType.OPENED, self.number))

    def refuse(self, error: int) -> None:
        """Do not take a stream that the other end opened; `error` is an errno, as connect(2) would give."""
        self.abort(error)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """`protocol` hears from the next tick on, beginning with what has arrived; no `connection_made`."""
        if not isinstance(protocol, asyncio.Protocol):
            raise TypeError("a stream speaks to an asyncio.Protocol")
        self._protocol = protocol
        if self._writing_paused:
            self._mux.loop.call_soon(protocol.pause_writing)
        self._mux.loop.call_soon(self._deliver)

    def get_protocol(self) -> asyncio.BaseProtocol:
        if self._protocol is None:
            raise RuntimeError("the stream has no protocol yet")
        return self._protocol

    def write(self, data: Any) -> None:
        """May be called before the other end took the stream: the bytes go out without waiting for it."""
        if self._eof_wanted:
            if self._closing:
                return
            raise RuntimeError("write after write_eof")
        if self._gone or not (data or self._datagrams):
            return
        if self._datagrams and self._outgoing_size > self._high:
            return
        self._outgoing.append(bytes(data))
        self._outgoing_size += len(data)
        if not self._scheduled and (self._credit.left > 0 or self._datagrams):
            self._want_turn()
        if self._outgoing_size > self._high and not self._writing_paused:
            self._writing_paused = True
            if self._protocol is not None:
                self._protocol.pause_writing()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if self._eof_wanted or self._gone:
            return
        self._eof_wanted = True
        if not self._outgoing:
            self._lane.send_control(encode(FrameType.EOF, self.number))
            self._after_eof()

    def pause_reading(self) -> None:
        self._reading_paused = True

    def resume_reading(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            self._mux.loop.call_soon(self._deliver)

    def is_reading(self) -> bool:
        return not self._reading_paused and not self.is_closing()

    def is_closing(self) -> bool:
        return self._closing or self._gone

    def close(self) -> None:
        """What was written still goes out, with EOF behind it; what arrives from now on is dropped."""
        if self.is_closing():
            return
        self._closing = True
        self._incoming.clear()
        if self._eof_sent:
            self._after_eof()
        else:
            self.write_eof()

    def abort(self, error: int = errors.ECONNRESET) -> None:
        """End both directions at once; the other end is told `error`, an errno."""
        if not self._gone:
            self._lane.send_control(encode_number(FrameType.RESET, self.number, error))
            self._end(None, error)

    def get_write_buffer_size(self) -> int:
        return self._outgoing_size

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = HIGH_WATER if high is None else high
        self._low = self._high // 2 if low is None else low

    # --- what the mux calls: sending -----------------------------------------------------------------

    def take(self, out: list[bytes | memoryview]) -> tuple[int, bool]:
        """Appends this turn's frames to `out`. Returns their bytes, and whether it wants another turn."""
        if self._gone:
            return 0, False
        limit = QUANTUM if self._datagrams else min(QUANTUM, self._credit.left)
        count = 0
        while self._outgoing and count < limit:
            piece = self._outgoing.popleft()
            if len(piece) > limit - count and not self._datagrams:
                view = memoryview(piece)
                self._outgoing.appendleft(view[limit - count :])
                piece = view[: limit - count]
            out.append(HEADER.pack(FrameType.DATA << 24 | len(piece), self.number))
            out.append(piece)
            count += len(piece)
            self._outgoing_size -= len(piece)
        if not self._datagrams:
            self.spend(count)
        if self._writing_paused and self._outgoing_size <= self._low:
            self._writing_paused = False
            self._mux.loop.call_soon(self._resume_writing)
        if self._eof_wanted and not self._outgoing and not self._eof_sent:
            out.append(encode(FrameType.EOF, self.number))
            self._after_eof()
        self._burst += count
        self._scheduled = bool(self._outgoing) and (self._datagrams or self._credit.left > 0)
        if self._scheduled and self._burst > MUCH and self._leaves():
            self._mux.loop.call_soon(self._move_to, self._lane.beyond)  # what is taken now goes here
            return count + HEADER.size, False
        return count + HEADER.size, self._scheduled

    def spend(self, count: int) -> None:
        """`count` bytes go out, or went with OPEN."""
        self._credit.spend(count)
        self._sent += count

    def on_credit(self, count: int) -> None:
        self._credit.grant(count)
        if self._outgoing and not self._scheduled and self._credit.left > 0:
            self._want_turn()

    # --- what the mux calls: receiving ---------------------------------------------------------------

    def on_opened(self) -> None:
        if not self.opened.done():
            self.opened.set_result(0)

    def on_first(self) -> None:
        """The bytes that came with OPEN."""
        if self.opening.rest and self.opening.kind not in REQUEST_KINDS:
            self._incoming.append(self.opening.rest)
            self.order.passed = len(self.opening.rest)

    def on_data(self, data: bytes, lane: Lane) -> None:
        self._heard_in = lane
        if self._closing:
            if self._eof_sent:  # nobody will ever read it; the peer shall stop, as TCP does after close
                self.abort()
            return
        if self._protocol is None or self._reading_paused or self._incoming:
            if self._datagrams and len(self._incoming) >= 64:
                return
            self._incoming.append(data)
        else:
            self._hand_over(data)

    def on_eof(self) -> None:
        self._eof_received = True
        if self._closing and self._eof_sent:
            self._end(None, errors.ECONNRESET)
        else:
            self._deliver()

    def on_reset(self, error: int) -> None:
        """The peer's RESET, or ECONNRESET when the tunnel is lost."""
        self._end(OSError(error, os.strerror(error)), error)

    # --- inside --------------------------------------------------------------------------------------

    def _want_turn(self) -> None:
        """After a pause. Who now says little begins anew; in the first lane, if all before has arrived."""
        self._scheduled = True
        if self._outgoing_size <= SMALL:
            self._burst, self._burst_since = 0, self._mux.loop.time()
            if self._lane is not self._lane.first and self._lane.has_delivered(self):
                self._move_to(self._lane.first)
                return
        elif self._burst > MUCH and self._leaves():
            self._move_to(self._lane.beyond)
            return
        self._lane.want_turn(self, self._outgoing_size)

    def _move_to(self, lane: Lane | None) -> None:
        """What follows goes there."""
        if lane is not None and not self._gone:
            self._lane = lane
            move = encode_total(FrameType.MOVE, self._sent, self.number)
            lane.move_in(self, move, self._outgoing_size)

    def _leaves(self) -> bool:
        """Having sent much: False when there is nowhere to go, or it took its time."""
        now = self._mux.loop.time()
        if now - self._burst_since > MUCH_SECONDS:
            self._burst, self._burst_since = 0, now
            return False
        if self._lane is not self._lane.first or self._datagrams:
            return False
        if self._lane.beyond is None:
            self._mux.much()
            return False
        return True

    def _resume_writing(self) -> None:
        if self._protocol is not None and not self._lost:
            self._protocol.resume_writing()

    def _after_eof(self) -> None:
        self._eof_sent = True
        if self._closing:
            if self._eof_received:
                self._end(None, errors.ECONNRESET)
            else:  # kept until the peer ends its direction, too
                self._lose(None)

    def _end(self, reason: OSError | None, error: int) -> None:
        if self._gone:
            return
        self._gone = True
        if not self.opened.done():
            self.opened.set_result(error)
        self._outgoing.clear()
        self._outgoing_size = 0
        self._incoming.clear()
        self._window.close()
        self._credit.end(self.number, settled=reason is not None)
        if (
            self.order.passed > INITIAL_WINDOW and not self._datagrams
        ):  # whoever has lent it something has it back
            told = min(self.order.passed, _MOST_CREDIT)
            self._lane.send_control(encode_number(FrameType.WINDOW, self.number, told))
        self._mux.forget(self)
        self._lose(reason)

    def _lose(self, reason: OSError | None) -> None:
        if not self._lost:
            self._lost, self._lost_reason = True, reason
            self._mux.loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        protocol = self._protocol
        if protocol is None:
            return
        if self._lost:
            if not self._lost_told:
                self._lost_told = True
                protocol.connection_lost(self._lost_reason)
            return
        while self._incoming and not self._reading_paused and not self.is_closing():
            self._hand_over(self._incoming.popleft())
        if self._eof_received and not self._eof_told and not self._incoming and not self.is_closing():
            self._eof_told = True
            if not protocol.eof_received():
                self.close()

    def _hand_over(self, data: bytes) -> None:
        assert self._protocol is not None
        self._protocol.data_received(data)
        if not self._gone and not self._datagrams:
            lane = self._heard_in
            credit = self._window.consume(len(data), self._mux.loop.time(), lane.round_trip)
            if credit:
                if self._window.has_grown:
                    self._mux.much()
                lane.send_control(encode_number(FrameType.WINDOW, self.number, credit))  # an ACK rides on it
