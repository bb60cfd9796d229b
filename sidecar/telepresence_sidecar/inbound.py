"""What arrives at the workload's ports: to the laptop, to the restored original, or held until one of them
listens.

Held are at most `hold_connections`, each for at most `hold_seconds`; beyond either a connection is reset, so
that its peer may try again elsewhere. What the laptop has once accepted is its own affair.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Iterable

from .arrival import LONGEST_RETRY, Arrival
from .contract.mux import Mux
from .contract.splice import Splice
from .datagrams import DatagramPorts
from .sockets import listen_everywhere, listen_on_loopback

ORIGINAL_SECONDS = 3.0
"""For one connect to a restored original that is Ready."""


class Inbound:
    """`open_ports` before use, `close` after. Hears of the laptop by `client`, `wait`, `go_on`, `listening`
    and `hand_over`."""

    def __init__(self, hold_connections: int, hold_seconds: float, is_own: Callable[[str], bool]) -> None:
        self.last_arrival = 0.0
        self.on_idle: Callable[[], None] = lambda: None
        self._hold_connections = hold_connections
        self._hold_seconds = hold_seconds
        self._is_own = is_own
        self._loop = asyncio.get_running_loop()
        self._servers: list[asyncio.Server] = []
        self._held: dict[Arrival, None] = {}  # by age; also those that are being offered
        self._splices: set[Splice] = set()
        self._dials: set[asyncio.Task[None]] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._mux: Mux | None = None
        self._waits = False
        self._listening: frozenset[int] = frozenset()
        self._originals: tuple[str, ...] = ()
        self._of_loopback: frozenset[int] = frozenset()
        self._datagrams = DatagramPorts()

    async def open_ports(
        self, ports: Iterable[int], loopback_ports: Iterable[int] = (), udp_ports: Iterable[int] = ()
    ) -> dict[str, str]:
        """Listens on them, over every family, and on `loopback_ports` of the pod's loopback alone. Returns
        those that could not be had, and why; `53/udp` is one of UDP."""
        self._of_loopback = frozenset(loopback_ports)
        unserved = {f"{port}/udp": why for port, why in self._datagrams.open_ports(udp_ports).items()}
        for port in (*ports, *self._of_loopback):
            try:
                of_loopback = port in self._of_loopback
                for listener in listen_on_loopback(port) if of_loopback else [listen_everywhere(port)]:
                    await self.serve(port, listener)
            except OSError as error:
                unserved[str(port)] = os.strerror(error.errno or errno.EIO)
        return unserved

    async def serve(self, port: int, listener: socket.socket) -> None:
        """Takes over `listener`; what it accepts counts as arrived at `port`."""
        self._servers.append(await self._loop.create_server(lambda: Arrival(self, port), sock=listener))

    def close(self) -> None:
        """Stops accepting, and resets what is held or joined."""
        self._datagrams.close()
        for server in self._servers:
            server.close()
        for arrival in list(self._held):
            arrival.refuse()
        for splice in list(self._splices):
            splice.abort()
        if self._sweep is not None:
            self._sweep.cancel()

    @property
    def idle(self) -> bool:
        return not self._held and not self._splices

    @property
    def handed_over(self) -> bool:
        return bool(self._originals)

    def client(self, mux: Mux | None) -> None:
        """The laptop's tunnel, or None when it is lost; it listens nowhere yet."""
        self._mux = mux
        self._waits = False
        self._listening = frozenset()
        self._datagrams.client(mux)

    def wait(self) -> None:
        """The laptop's link is down: what comes is held, and offered to it from `go_on` on."""
        self._waits = True

    def go_on(self) -> None:
        self._waits = False
        self._offer_held()

    def listening(self, ports: frozenset[int]) -> None:
        self._listening = ports
        self._offer_held()

    def hand_over(self, addresses: Iterable[str]) -> None:
        """To these from now on, whether or not the laptop listens; our own address would be a loop. What
        arrived on loopback is reset: it was for a container beside the caller, and the pod ends."""
        self._originals = tuple(address for address in addresses if not self._is_own(address))
        self._datagrams.hand_over(self._originals)
        self._offer_held()

    # --- what arrivals tell ------------------------------------------------------------------------------

    def arrived(self, arrival: Arrival) -> None:
        self.last_arrival = arrival.since = self._loop.time()
        if len(self._held) >= self._hold_connections:
            arrival.refuse()
            return
        self._held[arrival] = None
        if self._sweep is None:
            self._sweep_at(arrival.since + self._hold_seconds)
        self._offer(arrival)

    def turned_away(self, arrival: Arrival) -> None:
        """The laptop may listen again before it says so (a child that restarts fast): ask anew, less and
        less."""
        self._loop.call_later(arrival.retry, self._offer, arrival)
        arrival.retry = min(2 * arrival.retry, LONGEST_RETRY)

    def joined(self, arrival: Arrival, splice: Splice) -> None:
        self._held.pop(arrival, None)
        self._splices.add(splice)
        splice.done.add_done_callback(lambda _: self._spliced(splice))

    def gone(self, arrival: Arrival) -> None:
        self._held.pop(arrival, None)
        self._tell_idle()

    # --- inside --------------------------------------------------------------------------------------------

    def _offer_held(self) -> None:
        for arrival in list(self._held):
            self._offer(arrival)

    def _offer(self, arrival: Arrival) -> None:
        if not arrival.waiting or arrival not in self._held:
            return
        if self._originals and arrival.port in self._of_loopback:
            arrival.refuse()
        elif self._originals:
            dial = self._loop.create_task(arrival.offer_to(self._originals, ORIGINAL_SECONDS))
            self._dials.add(dial)
            dial.add_done_callback(self._dials.discard)
        elif self._mux is not None and not self._waits and arrival.port in self._listening:
            arrival.offer_to_laptop(self._mux)

    def _sweep_at(self, time: float) -> None:
        self._sweep = self._loop.call_at(time, self._sweep_old)

    def _sweep_old(self) -> None:
        """All may wait equally long, so the oldest are always the next to go."""
        self._sweep = None
        now = self._loop.time()
        for arrival in list(self._held):
            if arrival.since + self._hold_seconds > now:
                self._sweep_at(arrival.since + self._hold_seconds)
                return
            del self._held[arrival]
            arrival.refuse()

    def _spliced(self, splice: Splice) -> None:
        self._splices.discard(splice)
        self._tell_idle()

    def _tell_idle(self) -> None:
        if self.idle:
            self.on_idle()
