"""When the sidecar ends: told to by SIGTERM, left by its client, or missing it for longer than the grace
period."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .inbound import Inbound

QUIET_SECONDS = 2.5
"""So long without a new connection, after SIGTERM, and every kube-proxy has heard that the pod is going."""

STOP_SECONDS = 3.0
"""What connections of a pod that is simply deleted may still take."""

SUCCESSOR_SECONDS = 10.0
"""The same with a client that lives: until there is a successor this pod may be all that the Service has."""

DIAL_SECONDS = 2.0
"""However long it was silent: a client that noticed in the same moment has so much time to dial anew."""

FIRST_SECONDS = 30.0
"""For the first client at least, however short the grace period is: it may be on a busy machine, and the
originals still run."""


class Lifetime:
    """`ended` is done, with the reason, when the process shall exit. `begin` when nobody is there yet."""

    def __init__(self, inbound: Inbound, grace: float, drain_seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[str] = self._loop.create_future()
        self._inbound = inbound
        self._grace = grace
        self._drain_seconds = drain_seconds
        self._timer: asyncio.TimerHandle | None = None
        self._draining = False
        self._client = False
        self.forsake: Callable[[], None] = lambda: None
        """Ends what waits for a client that is lost and that would come too late."""
        inbound.on_idle = self._check_drained

    def begin(self) -> None:
        seconds = max(self._grace, FIRST_SECONDS)
        self._set_timer(seconds, lambda: self._missed(seconds))

    def client_came(self) -> None:
        self._client = True
        if not self._draining and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def client_lost(self, silent: float = 0.0) -> None:
        """Waits for it to come again; the seconds for which it was silent already count."""
        self._client = False
        if self._draining:
            self.forsake()
        else:
            least = min(self._grace, DIAL_SECONDS)
            self._set_timer(max(self._grace - silent, least), lambda: self._missed(self._grace))
        self._check_drained()

    def client_left(self) -> None:
        """It will not come again. What was handed over is still served until SIGTERM, or for the grace
        period if none comes because whoever should have deleted the pod has died."""
        self._client = False
        if self._inbound.handed_over:
            self.client_lost()
        else:
            self._end("the client left")

    def terminate(self) -> None:
        """SIGTERM: the pod is being deleted."""
        self._drain("the pod is deleted")

    def handed_over(self) -> None:
        """What is passed on by a pod that is being deleted already may take as long as if it were not."""
        if self._draining and not self.ended.done():
            self._limit(self._begun + self._drain_seconds)

    def _missed(self, seconds: float) -> None:
        if self._inbound.handed_over:
            self._drain("no client")
        else:
            self._end(f"no client for {seconds:g} s")

    def _drain(self, reason: str) -> None:
        if self._draining:
            return
        self._draining = True
        self._reason = reason
        self._begun = self._loop.time()
        if not self._client:
            self.forsake()
        self._limit(self._begun + self._most())
        self._check_drained()

    def _most(self) -> float:
        if self._inbound.handed_over:
            return self._drain_seconds
        return min(SUCCESSOR_SECONDS, self._drain_seconds) if self._client else STOP_SECONDS

    def _limit(self, time: float) -> None:
        text = f"{self._reason}, connections cut after {time - self._begun:g} s"
        self._set_timer(max(time - self._loop.time(), 0.0), lambda: self._end(text))

    def _check_drained(self) -> None:
        if not self._draining or not self._inbound.idle or self.ended.done():
            return
        # a client that is still there may have yet to say to whom it hands over
        quiet = QUIET_SECONDS if self._client or self._inbound.handed_over else 0.0
        quiet_at = max(self._begun, self._inbound.last_arrival) + quiet
        if self._loop.time() >= quiet_at:
            self._end(self._reason)
        else:
            self._loop.call_at(quiet_at, self._check_drained)

    def _set_timer(self, seconds: float, then: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, then)

    def _end(self, reason: str) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self.ended.done():
            self.ended.set_result(reason)
