"""The answer to the kubelet's readiness probe: 200 when told so, else 503."""

from __future__ import annotations

import asyncio
from typing import cast

_LONGEST_REQUEST = 8192
_SECONDS = 5.0


class Health:
    """`ready` is what every request hears, whatever its path."""

    def __init__(self) -> None:
        self.ready = False

    def protocol(self) -> asyncio.Protocol:
        """The factory for `create_server`."""
        return _Answer(self)


class _Answer(asyncio.Protocol):
    def __init__(self, health: Health) -> None:
        self._health = health
        self._request = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._timer = asyncio.get_running_loop().call_later(_SECONDS, self._transport.abort)

    def data_received(self, data: bytes) -> None:
        self._request += data
        if b"\r\n\r\n" not in self._request:
            if len(self._request) > _LONGEST_REQUEST:
                self._transport.abort()
            return
        status = b"200 OK" if self._health.ready else b"503 Service Unavailable"
        body = b"" if self._request.startswith(b"HEAD ") else status[4:] + b"\n"
        self._transport.write(
            b"HTTP/1.1 " + status + b"\r\nContent-Type: text/plain\r\n"
            b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(status[4:] + b"\n") + body
        )
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
