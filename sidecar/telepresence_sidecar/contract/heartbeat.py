"""Notices that a connection is dead: asks regularly, and tells after silence."""

from __future__ import annotations

import asyncio
from typing import Protocol

INTERVAL = 2.0
SILENCE = 8.0
"""Seconds. A connection that is given up too soon costs a new one, so this may be short."""


class LinkSilent(ConnectionError):
    """Nothing was heard from the other end for too long."""


class Heard(Protocol):
    """What is listened to."""

    last_heard: float
    """By the loop's clock."""

    def ping(self) -> None:
        """Ask for an answer."""

    def silent(self, reason: LinkSilent) -> None:
        """Called once."""


class Heartbeat:
    """From `start` to `stop` it pings every `interval` seconds; after `silence` seconds without a byte it
    tells.

    A process that was itself stopped (SIGSTOP, a laptop asleep) has not listened either: after a late tick
    the silence begins anew.
    """

    def __init__(self, heard: Heard, interval: float = INTERVAL, silence: float = SILENCE) -> None:
        self._heard = heard
        self._interval = interval
        self._silence = silence
        self._loop = asyncio.get_running_loop()
        self._heard_since = self._due = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._tick()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        now = self._loop.time()
        if now - self._due > self._interval:
            self._heard_since = now
        silent_at = max(self._heard.last_heard, self._heard_since) + self._silence
        if now >= silent_at:
            self._heard.silent(LinkSilent(f"nothing heard for {self._silence:g} seconds"))
            return
        self._heard.ping()
        self._due = min(now + self._interval, silent_at)
        self._timer = self._loop.call_at(self._due, self._tick)
