"""A wire in memory between two muxes: delivers in pieces of any size, fills up, breaks."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from telepresence_sidecar.contract.mux import Mux
from telepresence_sidecar.contract.stream import MuxStream


class MemoryWire:
    """One direction out of one mux, into `peer`'s. `capacity` bytes may wait; `held` stops delivery."""

    def __init__(self, dice: random.Random, capacity: int = 128 << 10) -> None:
        self.mux: Mux
        self.peer: MemoryWire
        self.held = False
        self.sent = 0
        self._dice = dice
        self._capacity = capacity
        self._waiting = bytearray()
        self._due = False
        self._dead = False

    def write(self, data: bytes) -> None:
        self.sent += len(data)
        self._waiting += data
        self.deliver_soon()

    def room(self) -> int:
        return self._capacity - len(self._waiting)

    def abort(self) -> None:
        if not self._dead:
            self._dead = True
            asyncio.get_running_loop().call_soon(self.peer.mux.wire_lost, None)

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
        piece = bytes(self._waiting[:count])
        del self._waiting[:count]
        self.peer.mux.feed(piece)
        if was_full and self.room() > 0:
            self.mux.drained()
        if self._waiting:
            self.deliver_soon()


class MuxPair:
    """Two muxes that talk: `laptop` (odd streams) and `pod` (even). Streams that one end opened arrive in the
    list of the other, or at its `on_open`."""

    def __init__(self, seed: int = 0, capacity: int = 128 << 10) -> None:
        dice = random.Random(seed)
        self.laptop_wire, self.pod_wire = MemoryWire(dice, capacity), MemoryWire(dice, capacity)
        self.laptop_wire.peer, self.pod_wire.peer = self.pod_wire, self.laptop_wire
        self.at_pod: list[MuxStream] = []
        self.at_laptop: list[MuxStream] = []
        self.pod_heard: list[dict[str, object]] = []
        self.laptop_heard: list[dict[str, object]] = []
        self.on_open_at_pod: Callable[[MuxStream], None] = self.at_pod.append
        self.on_open_at_laptop: Callable[[MuxStream], None] = self.at_laptop.append
        self.on_message_at_pod: Callable[[dict[str, object]], None] = self.pod_heard.append
        self.on_message_at_laptop: Callable[[dict[str, object]], None] = self.laptop_heard.append
        self.laptop = Mux(
            self.laptop_wire,
            1,
            lambda stream: self.on_open_at_laptop(stream),  # noqa: PLW0108 - assigned later
            lambda fields: self.on_message_at_laptop(fields),  # noqa: PLW0108 - assigned later
        )
        self.pod = Mux(
            self.pod_wire,
            2,
            lambda stream: self.on_open_at_pod(stream),  # noqa: PLW0108 - assigned later
            lambda fields: self.on_message_at_pod(fields),  # noqa: PLW0108 - assigned later
        )
        self.laptop_wire.mux, self.pod_wire.mux = self.laptop, self.pod
