"""Two muxes that talk in this process, over a link whose pipes are in memory: they deliver in pieces of any
size, fill up, stall, break."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from telepresence_sidecar.contract.frames import Kind, Opening
from telepresence_sidecar.contract.link import Leg, Link
from telepresence_sidecar.contract.mux import Mux
from telepresence_sidecar.contract.stream import MuxStream
from tests.fakes.loop import until
from tests.fakes.sink import Recorder


class MemoryPipe:
    """One end of a pipe; what is written arrives at the leg of `peer`. `capacity` bytes may wait; `held`
    stops delivery; once `budget` bytes have been delivered the pipe breaks, at both ends."""

    def __init__(self, dice: random.Random, capacity: int = 128 << 10) -> None:
        self.leg: Leg
        self.peer: MemoryPipe
        self.held = False
        self.sent = 0
        self.budget: int | None = None
        self._dice = dice
        self._capacity = capacity
        self._waiting = bytearray()
        self._due = False
        self._dead = False

    @classmethod
    def pair(cls, dice: random.Random, capacity: int = 128 << 10) -> tuple[MemoryPipe, MemoryPipe]:
        one, other = cls(dice, capacity), cls(dice, capacity)
        one.peer, other.peer = other, one
        return one, other

    def write(self, *pieces: bytes | memoryview) -> None:
        for piece in pieces:
            self.sent += len(piece)
            self._waiting += piece
        if not self._dead:
            self.deliver_soon()

    def room(self) -> int:
        return self._capacity - len(self._waiting)

    def close(self) -> None:
        while self._waiting and not (self.held or self._dead or self.peer._dead):
            self._deliver()
        self.abort()

    def abort(self) -> None:
        """As a broken connection: what is under way is lost, and both ends hear of it."""
        if not self._dead:
            self._dead = True
            loop = asyncio.get_running_loop()
            loop.call_soon(self.leg.wire_lost, None)
            loop.call_soon(self.peer.abort)

    def release(self) -> None:
        self.held = False
        self.deliver_soon()

    def deliver_soon(self) -> None:
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._deliver)

    def _deliver(self) -> None:
        self._due = False
        if self.held or self._dead or self.peer._dead or not self._waiting:
            return
        was_full = self.room() <= 0
        count = self._dice.choice([1, 7, 9, 4096, 70_000, 200_000])
        if self.budget is not None:
            count = min(count, self.budget)
            self.budget -= count
        piece = bytes(self._waiting[:count])
        del self._waiting[:count]
        if piece:
            self.peer.leg.feed(piece)
        if self.budget == 0:
            self.abort()
            return
        if was_full and self.room() > 0:
            self.leg.drained()
        if self._waiting:
            self.deliver_soon()


class MuxPair:
    """Two muxes that talk: `laptop` (odd streams) and `pod` (even). Streams that one end opened arrive in the
    list of the other, or at its `on_open`. `cut` breaks the pipe that there is, `connect` lays another."""

    def __init__(self, seed: int = 0, capacity: int = 128 << 10) -> None:
        self._dice = random.Random(seed)
        self._capacity = capacity
        self.at_pod: list[MuxStream] = []
        self.at_laptop: list[MuxStream] = []
        self.pod_heard: list[dict[str, object]] = []
        self.laptop_heard: list[dict[str, object]] = []
        self.on_open_at_pod: Callable[[MuxStream], None] = self.at_pod.append
        self.on_open_at_laptop: Callable[[MuxStream], None] = self.at_laptop.append
        self.on_message_at_pod: Callable[[dict[str, object]], None] = self.pod_heard.append
        self.on_message_at_laptop: Callable[[dict[str, object]], None] = self.laptop_heard.append
        self.on_laptop_link: Callable[[bool], None] = lambda up: None
        self.laptop_link = Link("1", lambda: self.on_laptop_link(True), lambda _: self.on_laptop_link(False))
        self.pod_link = Link("1")
        self.laptop = Mux(
            self.laptop_link,
            1,
            lambda stream: self.on_open_at_laptop(stream),  # noqa: PLW0108 - assigned later
            lambda fields: self.on_message_at_laptop(fields),  # noqa: PLW0108 - assigned later
        )
        self.pod = Mux(
            self.pod_link,
            2,
            lambda stream: self.on_open_at_pod(stream),  # noqa: PLW0108 - assigned later
            lambda fields: self.on_message_at_pod(fields),  # noqa: PLW0108 - assigned later
        )
        self.laptop_link.carry(self.laptop.first_lane)
        self.pod_link.carry(self.pod.first_lane)
        self.connect()

    def connect(self) -> None:
        """A fresh pipe, in place of the one that there may be."""
        self.laptop_wire, self.pod_wire = MemoryPipe.pair(self._dice, self._capacity)
        self.laptop_wire.leg = self.laptop_link.attach(self.laptop_wire)
        self.pod_wire.leg = self.pod_link.resume(self.pod_wire, self.laptop_link.received)

    def cut(self) -> None:
        self.laptop_wire.abort()

    def widen(self) -> None:
        """A second lane for both, over a pipe of its own."""
        self.laptop_bulk, self.pod_bulk = Link("1-bulk"), Link("1-bulk")
        for mux, link in ((self.laptop, self.laptop_bulk), (self.pod, self.pod_bulk)):
            lane = mux.new_lane(link)
            link.carry(lane)
            mux.use(lane)
        self.connect_bulk()

    def connect_bulk(self) -> None:
        self.laptop_bulk_wire, self.pod_bulk_wire = MemoryPipe.pair(self._dice, self._capacity)
        self.laptop_bulk_wire.leg = self.laptop_bulk.attach(self.laptop_bulk_wire)
        self.pod_bulk_wire.leg = self.pod_bulk.resume(self.pod_bulk_wire, self.laptop_bulk.received)

    def cut_bulk(self) -> None:
        self.laptop_bulk_wire.abort()


async def connected(pair: MuxPair) -> tuple[MuxStream, Recorder, MuxStream, Recorder]:
    """A stream that the pod has accepted: both its ends, and what is heard at each."""
    near, near_heard, far_heard = pair.laptop.open(Opening(Kind.TCP, "orders", 80)), Recorder(), Recorder()
    near.set_protocol(near_heard)
    await until(lambda: bool(pair.at_pod))
    far = pair.at_pod.pop()
    far.set_protocol(far_heard)
    far.accept()
    return near, near_heard, far, far_heard
