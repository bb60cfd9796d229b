"""A link outlives its connections: what the mux sends is numbered, kept until the other end has it, and sent
again over the next connection.

The link is the mux's wire; below it comes and goes one pipe after the other. No frame in a frame: the bytes
of the mux's frames are counted at both ends, and the receiver counts a frame when it is whole. So a link
always goes on at the edge of a frame, and the half frame of a dead pipe is forgotten with it.

Who dials names the link and what it has of it, in a claim beside the pipe; the other end speaks first, with
WELCOME and what it has. Both so know what to send again, without another round trip.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from .claim import claim
from .frames import (
    FIRST_OF_LINK,
    HEADER,
    Frame,
    FrameReader,
    FrameType,
    ProtocolError,
    decode_total,
    encode,
    encode_total,
)
from .heartbeat import Heartbeat, LinkSilent
from .pace import Pace

ACK_BYTES, ACK_SECONDS = 512 << 10, 0.02
"""So much may come, or so much time pass, before it is acknowledged, unless the other end asks."""

RIDE_BYTES, RIDE_SECONDS = 16 << 10, 0.002
"""The same, if something goes out anyway; not with each word, as a word should not be dearer for it."""

AGAIN_BYTES = 64 << 10
"""What is sent again goes so many bytes at a time, and no more than a long frame above."""

CLOSE_SECONDS = 0.5
"""What the last word may take."""

_STAMP = struct.Struct("!d")


class LinkGone(ConnectionError):
    """The other end has given this link up."""

    def __init__(self) -> None:
        super().__init__("the other end has ended the link")


class Pipe(Protocol):
    """One connection. It calls the `feed`, `drained` and `wire_lost` of the leg that it is given."""

    def write(self, *pieces: bytes | memoryview) -> None:
        """OSError when it is lost, which it also tells."""

    def room(self) -> int:
        """Bytes that may be written now without queueing much; `drained` follows when it was 0 or less."""

    def close(self) -> None:
        """What was written still goes out."""

    def abort(self) -> None:
        """End now; may be called again."""


class Carried(Protocol):
    """What a link needs of its mux: a lane."""

    round_trip: float

    def received(self, frame: Frame) -> None: ...
    def drained(self) -> None: ...
    def wire_lost(self, reason: Exception | None) -> None: ...


class Leg:
    """The time of one pipe under its link. What comes after the next one has begun is not heard any more."""

    def __init__(self, link: Link, pipe: Pipe) -> None:
        loop = asyncio.get_running_loop()
        self.pipe = pipe
        self.reader = FrameReader()
        self.last_heard = self.last_said = loop.time()
        self.heartbeat = Heartbeat(self)
        self.begun: asyncio.Future[None] = loop.create_future()
        """Done when both ends know what to send."""
        self.ended: asyncio.Future[Exception | None] = loop.create_future()
        """Done when the pipe is lost or replaced, with the reason; the link may live on."""
        self._link = link
        self._now = loop.time

    def feed(self, data: bytes | memoryview) -> None:
        self._link.fed(self, data)

    def drained(self) -> None:
        self._link.leg_drained(self)

    def wire_lost(self, reason: Exception | None) -> None:
        self._link.leg_lost(self, reason)

    def write(self, *pieces: bytes | memoryview) -> None:
        """Of a pipe that is lost already we shall hear."""
        self.last_said = self._now()
        with suppress(OSError):
            self.pipe.write(*pieces)

    def ping(self) -> None:
        self.write(encode(FrameType.PING, 0, _STAMP.pack(self._now())))

    def silent(self, reason: LinkSilent) -> None:
        self._link.leg_lost(self, reason)


class Link:
    """One end. Who dials gives it each pipe by `attach`, who is dialled by `resume`; both give the leg that
    is returned to the pipe. `carry` tells it its mux, beforehand.

    `on_down(reason)` and `on_up` tell whether a pipe carries it. While none does the mux waits; what it still
    writes (frames that open and end streams, messages) is kept. It ends with the mux, and by `fail`. One
    `beside` another goes the same way.
    """

    def __init__(
        self,
        name: str,
        on_up: Callable[[], None] = lambda: None,
        on_down: Callable[[Exception | None], None] = lambda reason: None,
        beside: Link | None = None,
    ) -> None:
        self.name = name
        self.received = 0
        """Bytes that have come, in whole frames."""
        self.up = False
        self.legs = 0
        """So many pipes have carried it, one after the other."""
        self._last_heard = self._last_said = 0.0
        self.pace = Pace(0)
        self._on_up, self._on_down = on_up, on_down
        self._beside = beside
        self._loop = asyncio.get_running_loop()
        self._mux: Carried
        self._leg: Leg | None = None
        self.over = False
        """It has ended for good."""
        self.sent = 0
        """Bytes that the mux wrote."""
        self.acked = 0
        """So many of them have come to the other end."""
        self._kept: deque[bytes | memoryview] = deque()
        self._kept_from = 0
        self._behind: deque[bytes | memoryview] = deque()  # of the kept: what this pipe is still to be given
        self._given = 0
        self._told = 0
        self._unsaid_since = 0.0
        self._ack_due = False
        self._asked = False
        self._wanted = False  # room, which there was not

    def carry(self, mux: Carried) -> None:
        self._mux = mux

    @property
    def claim(self) -> str:
        return claim(self.name, self.received)

    @property
    def kept(self) -> int:
        """Bytes that would have to be sent again."""
        return self.sent - self._kept_from

    @property
    def last_heard(self) -> float:
        """When a byte last came, heartbeats too, by the loop's clock; 0 before the first."""
        return self._last_heard if self._leg is None else self._leg.last_heard

    @property
    def last_said(self) -> float:
        """The same of what went out."""
        return self._last_said if self._leg is None else self._leg.last_said

    def attach(self, pipe: Pipe) -> Leg:
        """A pipe that was dialled with our claim; it carries as soon as the other end has said WELCOME."""
        return self._new_leg(pipe)

    def resume(self, pipe: Pipe, received: int) -> Leg:
        """A pipe of who dialled and has `received` bytes; the first, or in place of the one that there is.

        ProtocolError, and nothing is changed, when it cannot have that.
        """
        self._require_possible(received)
        leg = self._new_leg(pipe)
        leg.write(encode_total(FrameType.WELCOME, self.received))
        self._begin(leg, received)
        return leg

    def fail(self, reason: Exception | None) -> None:
        """It is lost for good, and the mux with it."""
        self._mux.wire_lost(reason)

    # --- the wire of the mux ---------------------------------------------------------------------------

    def write(self, frames: list[bytes | memoryview], more: bool) -> None:
        if self.over:
            return
        leg = self._leg
        self._keep(frames)
        if leg is None or not self.up or self._behind:
            if self._behind:
                self._behind.extend(frames)
            return
        now, unsaid = self._loop.time(), self.received - self._told
        if unsaid and (unsaid >= RIDE_BYTES or now - self._unsaid_since >= RIDE_SECONDS):
            self._told = self.received
            leg.write(encode_total(FrameType.ACK, self._told), *frames)
        else:
            leg.write(*frames)
        self.pace.sent(self.sent, now, more)

    def room(self) -> int:
        room = 0
        if self._leg is not None and self.up and not self._behind:
            room = min(self._leg.pipe.room(), self.pace.bound - self.sent + self.acked)
        self._wanted = room <= 0
        return room

    def abort(self) -> None:
        """It will not be resumed; the other end is told if it can be."""
        if self.over:
            return
        self.over, self.up = True, False
        self._kept.clear()
        self._behind.clear()
        leg, self._leg = self._leg, None
        if leg is not None:
            leg.write(encode(FrameType.GONE, 0))
            leg.pipe.close()
            self._loop.call_later(CLOSE_SECONDS, leg.pipe.abort)
            self._end(leg, None)

    # --- what the legs call ----------------------------------------------------------------------------

    def fed(self, leg: Leg, data: bytes | memoryview) -> None:
        """Whatever of it is a whole frame is delivered, and then counted."""
        if leg is not self._leg:
            return
        leg.last_heard = now = self._loop.time()
        if self.received == self._told:
            self._unsaid_since = now
        reader, mux = leg.reader, self._mux
        count = reader.held + len(data)
        try:
            for frame in reader.feed(data):
                if frame.type >= FIRST_OF_LINK:
                    count -= HEADER.size + len(frame.payload)
                    self._heard(leg, frame)
                else:
                    mux.received(frame)
        except Exception as error:  # noqa: BLE001 - what was delivered in part can neither be counted nor not
            self.fail(error)
            return
        self.received += count - reader.held
        unsaid = self.received - self._told
        if unsaid >= ACK_BYTES or (self._asked and unsaid):
            self._loop.call_soon(self._acknowledge)  # behind what the mux sends because of it
        elif unsaid and not self._ack_due:
            self._ack_due = True
            self._loop.call_later(ACK_SECONDS, self._acknowledge_late)

    def leg_drained(self, leg: Leg) -> None:
        if leg is self._leg and self.up:
            if self._behind:
                self._catch_up(leg)
            else:
                self._tell_room()

    def leg_lost(self, leg: Leg, reason: Exception | None) -> None:
        if leg is not self._leg:
            return
        was_up, self.up, self._leg = self.up, False, None
        self._last_heard, self._last_said = leg.last_heard, leg.last_said
        self._behind.clear()
        leg.pipe.abort()
        self._end(leg, reason)
        if was_up:
            self._on_down(reason)

    # --- inside ----------------------------------------------------------------------------------------

    def _new_leg(self, pipe: Pipe) -> Leg:
        if self._leg is not None:
            self.leg_lost(self._leg, ConnectionResetError("dialled anew"))
        leg = self._leg = Leg(self, pipe)
        return leg

    def _require_possible(self, total: int) -> None:
        if not self.acked <= total <= self.sent:
            raise ProtocolError(f"{total} bytes have come, of {self.acked} to {self.sent}")

    def _begin(self, leg: Leg, peer_has: int) -> None:
        """Send what the peer has not got, and go on from there."""
        self._has_come(peer_has)
        self._behind = deque(self._kept)
        if self._behind:
            self._behind[0] = memoryview(self._behind[0])[peer_has - self._kept_from :]
        self._given = peer_has
        self._told = self.received
        self.pace = Pace(peer_has, None if self._beside is None else self._beside.pace)
        self.up = True
        self.legs += 1
        leg.begun.set_result(None)
        leg.heartbeat.start()
        self._on_up()
        self._catch_up(leg)

    def _catch_up(self, leg: Leg) -> None:
        while self._behind and leg.pipe.room() > 0:
            pieces, size = [], 0
            while self._behind and size < AGAIN_BYTES:
                pieces.append(self._behind.popleft())
                size += len(pieces[-1])
            self._given += size
            leg.write(*pieces)
            self.pace.sent(self._given, self._loop.time(), more=True)
        if not self._behind:
            self._tell_room()

    def _tell_room(self) -> None:
        """Who was told of none is told of some."""
        if self._wanted and self.room() > 0:
            self._mux.drained()

    def _end(self, leg: Leg, reason: Exception | None) -> None:
        leg.heartbeat.stop()
        leg.ended.set_result(reason)

    def _keep(self, frames: list[bytes | memoryview]) -> None:
        self._kept.extend(frames)
        self.sent += sum(map(len, frames))

    def _has_come(self, acked: int) -> None:
        self.acked = acked
        kept = self._kept
        while kept and self._kept_from + len(kept[0]) <= acked:
            self._kept_from += len(kept.popleft())

    def _heard(self, leg: Leg, frame: Frame) -> None:
        if leg is not self._leg:
            return
        if frame.type is FrameType.ACK:
            total = decode_total(frame.payload)
            self._require_possible(total)
            self._has_come(total)
            self.pace.acked(total, self._loop.time())
            self._tell_room()
        elif frame.type is FrameType.PING:
            self._asked = True
            leg.write(encode(FrameType.PONG, 0, frame.payload))
        elif frame.type is FrameType.PONG:
            self._ponged(frame.payload)
        elif frame.type is FrameType.WELCOME and not self.up:
            total = decode_total(frame.payload)
            self._require_possible(total)
            self._begin(leg, total)
        elif frame.type is FrameType.GONE:
            raise LinkGone
        else:
            raise ProtocolError("a second WELCOME")

    def _ponged(self, payload: bytes) -> None:
        if len(payload) != _STAMP.size:
            raise ProtocolError("PONG of a wrong length")
        now = self._loop.time()
        self.pace.measured(max(0.0, now - _STAMP.unpack(payload)[0]), now)
        self._mux.round_trip = self.pace.round_trip

    def _acknowledge_late(self) -> None:
        self._ack_due = False
        self._acknowledge()

    def _acknowledge(self) -> None:
        self._asked = False
        if self._leg is not None and self.up and self.received > self._told:
            self._told = self.received
            self._leg.write(encode_total(FrameType.ACK, self._told))
