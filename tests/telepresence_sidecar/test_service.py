from __future__ import annotations

import asyncio

from telepresence_sidecar.health import Health
from telepresence_sidecar.inbound import Inbound
from telepresence_sidecar.lifetime import Lifetime
from telepresence_sidecar.log import Log
from telepresence_sidecar.service import Service
from tests.fakes.loop import in_virtual_time

GRACE = 30.0


class DeadPipe:
    """To a laptop that has vanished: takes all, and nothing comes back."""

    closed = False

    def write(self, *pieces: bytes | memoryview) -> None:
        pass

    def room(self) -> int:
        return 1 << 20

    def abort(self) -> None:
        self.closed = True

    close = abort


@in_virtual_time
async def test_a_laptop_that_vanished_is_missed_from_its_last_word_on() -> None:
    """Not from the moment on in which its silence is noticed."""
    inbound = Inbound(10, 10.0, is_own=lambda address: False)
    lifetime = Lifetime(inbound, GRACE, drain_seconds=1.0)
    service = Service(inbound, Health(), lifetime, Log("s-1", "joe@laptop"))
    loop = asyncio.get_running_loop()
    last_word = loop.time()
    assert service.attach(DeadPipe(), "one 0") is not None
    assert await lifetime.ended == f"no client for {GRACE:g} s"
    assert loop.time() - last_word < GRACE + 1
