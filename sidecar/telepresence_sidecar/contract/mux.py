"""Many streams over one ordered wire, which is a Link: both ends of the tunnel run this.

Nothing ever stops globally: a stream whose reader stalls keeps its credit back and stops alone. What waits
to be sent waits in the streams, not in the wire, so that whoever wakes with little to say goes first.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable

from .credit import SPARE, GrowthBudget, ReceiveWindow, SpareCredit
from .frames import (
    DATAGRAM_KINDS,
    Frame,
    FrameType,
    Kind,
    Opening,
    ProtocolError,
    decode_message,
    decode_number,
    encode,
    encode_message,
)
from .lane import Lane, Wire
from .schedule import SMALL
from .stream import MuxStream

MOST_EARLY = 32 << 20
"""Bytes of frames that wait for the OPEN of their streams: more than can be under way; so the peer does not
keep to the rules, and there is no end to it."""


class Mux:
    """One end. `on_open(stream)` tells of streams that the peer opened, to be accepted or refused;
    `on_message(dict)` of messages, in order. `first_stream` is 1 on the laptop and 2 in the pod.
    `memory` bounds in bytes by how much all receive windows together grow beyond their initial size, what
    the other end may send beyond them (`SPARE`) included.
    Call `abort` to end it; `lost` is done when it has ended, whoever ended it."""

    def __init__(
        self,
        wire: Wire,
        first_stream: int,
        on_open: Callable[[MuxStream], None],
        on_message: Callable[[dict[str, object]], None],
        memory: int = 64 << 20,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[Exception | None] = self.loop.create_future()
        self.first_lane = Lane(self, wire)
        self.on_much: Callable[[], None] = lambda: None
        """Called, maybe often, while a stream with much to send or to receive could do with another lane."""
        self._on_open = on_open
        self._on_message = on_message
        self._budget = GrowthBudget(memory - SPARE)
        self.spare = SpareCredit()
        self._streams: dict[int, MuxStream] = {}
        self._next_stream = first_stream
        self._last_of_peer = -1
        self._early: dict[int, list[tuple[Frame, Lane]]] = {}
        self._early_size = 0
        self._handlers: dict[FrameType, Callable[[Frame], None]] = {
            FrameType.OPEN: self._open_received,
            FrameType.MESSAGE: lambda frame: self._on_message(decode_message(frame.payload)),
        }

    def open(self, opening: Opening, first: bytes = b"") -> MuxStream:
        """A new stream, at once: nothing is waited for. Small `first` bytes travel with OPEN."""
        number = self._next_stream
        self._next_stream += 2
        stream = self._make(number, opening)
        if self.lost.done():
            stream.on_reset(errno.ECONNRESET)
            return stream
        rides = bool(first) and len(first) <= SMALL and opening.kind not in DATAGRAM_KINDS
        if rides:
            stream.spend(len(first))
        payload = opening.encode() + (first if rides else b"")
        self.send_control(encode(FrameType.OPEN, number, payload))
        if first and not rides:
            stream.write(first)
        return stream

    def open_connections(self) -> int:
        """TCP connections in both directions; no datagrams, names or files."""
        return sum(stream.opening.kind in (Kind.TCP, Kind.INBOUND) for stream in self._streams.values())

    def new_lane(self, wire: Wire) -> Lane:
        """For streams that send much, over `wire`, which carries it; they use it from `use` on."""
        return Lane(self, wire, self.first_lane)

    def use(self, lane: Lane) -> None:
        self.first_lane.beyond = lane

    def send_message(self, message: dict[str, object]) -> None:
        """Messages arrive in order; streams opened later arrive after them."""
        self.send_control(encode_message(message))

    def abort(self) -> None:
        """End now: every stream is lost, the wire is aborted."""
        self.wire_lost(None)

    # --- what the owner of the wire calls --------------------------------------------------------------

    def received(self, frame: Frame, lane: Lane) -> None:
        """The next frame of the peer's mux, in that lane. ProtocolError: the wire is of no use any more."""
        if self.lost.done():
            return
        handler = self._handlers.get(frame.type)
        if handler is not None:
            handler(frame)
            return
        stream = self._streams.get(frame.stream)
        if stream is None:
            self._received_for_none(frame, lane)
            return
        try:
            if frame.type is FrameType.WINDOW:
                stream.on_credit(decode_number(frame.payload))
                return
            for due, by in stream.order.sort(frame, lane):
                if frame.stream in self._streams:
                    self._stream_received(stream, due, by)
        except ProtocolError:
            raise
        except Exception as error:  # noqa: BLE001 - a relay's bug must not end the other streams
            self.loop.call_exception_handler(
                {"message": f"stream {stream.number} failed", "exception": error}
            )
            stream.abort()

    def wire_lost(self, reason: Exception | None) -> None:
        """The wire is gone, or of no use any more. May be called twice."""
        if self.lost.done():
            return
        self.lost.set_result(reason)
        for stream in list(self._streams.values()):
            stream.on_reset(errno.ECONNRESET)
        self._streams.clear()
        for lane in (self.first_lane, self.first_lane.beyond):
            if lane is not None:
                lane.wire.abort()

    # --- what a stream calls ---------------------------------------------------------------------------

    def send_control(self, frame: bytes) -> None:
        self.first_lane.send_control(frame)

    def much(self) -> None:
        if self.first_lane.beyond is None:
            self.on_much()

    def forget(self, stream: MuxStream) -> None:
        self._streams.pop(stream.number, None)

    # --- inside ----------------------------------------------------------------------------------------

    def _make(self, number: int, opening: Opening) -> MuxStream:
        window = ReceiveWindow(self._budget, self.loop.time())
        stream = self._streams[number] = MuxStream(self, self.first_lane, number, opening, window)
        return stream

    def _stream_received(self, stream: MuxStream, frame: Frame, lane: Lane) -> None:
        if frame.type is FrameType.DATA:
            stream.on_data(frame.payload, lane)
        elif frame.type is FrameType.EOF:
            stream.on_eof()
        elif frame.type is FrameType.OPENED:
            stream.on_opened()
        else:
            stream.on_reset(decode_number(frame.payload))

    def _received_for_none(self, frame: Frame, lane: Lane) -> None:
        """The stream has ended here while this was under way; or it has left the lane of its OPEN, which is
        still on the way."""
        if frame.type is FrameType.WINDOW:
            self.spare.settle(frame.stream, decode_number(frame.payload))
        elif frame.stream > self._last_of_peer and self._is_of_peer(frame) and lane is not self.first_lane:
            self._early.setdefault(frame.stream, []).append((frame, lane))
            self._early_size += _weight(frame)
            if self._early_size > MOST_EARLY:
                raise ProtocolError("too much for streams that were never opened")

    def _is_of_peer(self, frame: Frame) -> bool:
        return frame.stream % 2 != self._next_stream % 2

    def _open_received(self, frame: Frame) -> None:
        if not self._is_of_peer(frame) or frame.stream <= self._last_of_peer:
            raise ProtocolError(f"stream {frame.stream} cannot be opened")
        self._last_of_peer = frame.stream
        stream = self._make(frame.stream, Opening.decode(frame.payload))
        stream.on_first()
        self._on_open(stream)
        for early, lane in self._early.pop(frame.stream, ()):
            self._early_size -= _weight(early)
            self.received(early, lane)


def _weight(frame: Frame) -> int:
    """What a frame that waits costs, about; empty ones, too."""
    return 256 + len(frame.payload)
