"""Notices a dead link: pings through the mux, and ends it after silence."""

from __future__ import annotations

import asyncio

from .mux import Mux

INTERVAL = 3.0
SILENCE = 10.0


class LinkSilent(ConnectionError):
    """Nothing was heard from the other end for too long."""


class Heartbeat:
    """Pings every `interval` seconds; after `silence` seconds without a byte the mux is lost with LinkSilent.

    A process that was itself stopped (SIGSTOP, a laptop asleep) has not listened either: after a late tick
    the silence begins anew. Ends with the mux; nothing to close.
    """

    def __init__(self, mux: Mux, interval: float = INTERVAL, silence: float = SILENCE) -> None:
        self._mux = mux
        self._interval = interval
        self._silence = silence
        self._heard_since = mux.loop.time()
        self._due = self._heard_since
        self._timer: asyncio.TimerHandle | None = None
        mux.lost.add_done_callback(lambda _: self._stop())

    def start(self) -> None:
        self._tick()

    def _tick(self) -> None:
        mux = self._mux
        if mux.lost.done():
            return
        now = mux.loop.time()
        if now - self._due > self._interval:
            self._heard_since = now
        if now - max(mux.last_heard, self._heard_since) > self._silence:
            mux.wire_lost(LinkSilent(f"nothing heard for {self._silence:g} seconds"))
            return
        mux.ping()
        self._due = now + self._interval
        self._timer = mux.loop.call_at(self._due, self._tick)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
