"""The answer to the kubelet's readiness probe: 200 as soon as told so, 503 when that did not come in time.

The kubelet asks once a second at most, so an answer that comes at once is up to a second old when it matters.
A question that waits here makes the pod Ready in the moment that the laptop says so.
"""

from __future__ import annotations

import asyncio
from typing import cast

from .contract import PROBE_PATIENCE_SECONDS

_LONGEST_REQUEST = 8192
_SECONDS = 5.0
"""For a request to come in whole."""


class Health:
    """`ready` is what every request hears, whatever its path; while it is False, after `patience_seconds`."""

    def __init__(self, patience_seconds: float = PROBE_PATIENCE_SECONDS) -> None:
        self._ready = False
        self._patience_seconds = patience_seconds
        self._waiting: set[_Answer] = set()

    @property
    def ready(self) -> bool:
        return self._ready

    @ready.setter
    def ready(self, ready: bool) -> None:
        self._ready = ready
        if ready:
            for answer in list(self._waiting):
                answer.give()

    @property
    def waiting(self) -> int:
        """Requests that have not been answered yet, as that would be a no."""
        return len(self._waiting)

    def protocol(self) -> asyncio.Protocol:
        """The factory for `create_server`."""
        return _Answer(self)

    def patience(self, answer: _Answer) -> float:
        """How many seconds this answer may wait for a better one."""
        if self._ready:
            return 0.0
        self._waiting.add(answer)
        return self._patience_seconds

    def answered(self, answer: _Answer) -> None:
        self._waiting.discard(answer)


class _Answer(asyncio.Protocol):
    def __init__(self, health: Health) -> None:
        self._health = health
        self._request = b""
        self._asked = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._timer = asyncio.get_running_loop().call_later(_SECONDS, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        if self._asked:
            return
        self._request += data
        self._asked = b"\r\n\r\n" in self._request
        if not self._asked:
            if len(self._request) > _LONGEST_REQUEST:
                self._transport.abort()
            return
        self._timer.cancel()
        if (seconds := self._health.patience(self)) > 0:
            self._timer = asyncio.get_running_loop().call_later(seconds, self.give)
        else:
            self.give()

    def give(self) -> None:
        """The answer as it is now."""
        self._timer.cancel()
        self._health.answered(self)
        status = b"200 OK" if self._health.ready else b"503 Service Unavailable"
        body = b"" if self._request.startswith(b"HEAD ") else status[4:] + b"\n"
        self._transport.write(
            b"HTTP/1.1 " + status + b"\r\nContent-Type: text/plain\r\n"
            b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(status[4:] + b"\n") + body
        )
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        self._health.answered(self)
