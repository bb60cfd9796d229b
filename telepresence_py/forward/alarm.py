"""A timer for less than a millisecond, to which asyncio's own rounds up."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress

from telepresence_py.process.kernel import set_timer, timerfd


class Alarm:
    """Calls `ring` in the running asyncio loop, as often as it is set and comes due. `close` ends it."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._loop = asyncio.get_running_loop()
        self._due = float("inf")
        self._fd = timerfd()
        self._loop.add_reader(self._fd, self._came_due)

    def within(self, seconds: float) -> None:
        """Ring in so many seconds; an earlier time for which it was set already stays."""
        due = self._loop.time() + seconds
        if due < self._due:
            self._due = due
            set_timer(self._fd, seconds)

    def close(self) -> None:
        self._loop.remove_reader(self._fd)
        os.close(self._fd)

    def _came_due(self) -> None:
        with suppress(BlockingIOError):
            os.read(self._fd, 8)
        self._due = float("inf")
        self._ring()
