"""Where the child's connections and flows go: through the tunnel, unless the user's rules say otherwise."""

from __future__ import annotations

import socket
from collections.abc import Callable, Container, Coroutine
from dataclasses import dataclass
from typing import Any

from telepresence_py.forward.packets import Endpoint
from telepresence_py.model.rules import Way


async def _close(connection: socket.socket) -> None:
    connection.close()


@dataclass(frozen=True)
class Directions:
    """`way(destination)` is asked once for each connection, and for each flow of datagrams; it never waits.

    Ports of the child's `localhost` in `pod_localhost`, on which nobody inside listens, are the pod's.
    For Way.NAMES `serve_names(connection)` takes the connection over, a coroutine function of asyncio.
    """

    way: Callable[[Endpoint], Way]
    serve_names: Callable[[socket.socket], Coroutine[Any, Any, None]] = _close
    pod_localhost: Container[int] = ()


ALL_TO_POD = Directions(lambda _: Way.TUNNEL)
