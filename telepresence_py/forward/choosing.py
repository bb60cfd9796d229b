"""Which tunnel a new connection takes; and the wait for the next one while the session has none."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable

from telepresence_py.tunnel.interface import Tunnel
from telepresence_sidecar.contract.names import Inquiry

ChooseTunnel = Callable[[], Tunnel | None]
"""The tunnel for something new, of however many pods there are; None while none lives."""

PATIENCE_SECONDS = 10.0
"""A pod that was taken from the session is followed by another one sooner, on a cluster with room."""

AGAIN_SECONDS = 0.05


async def next_tunnel(choose_tunnel: ChooseTunnel) -> Tunnel:
    """asyncio. The one for something new as soon as there is one; ENETDOWN when none comes in time."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while (tunnel := choose_tunnel()) is None:
        if asyncio.get_running_loop().time() > deadline:
            raise OSError(errno.ENETDOWN, "the session has no pod in the cluster")
        await asyncio.sleep(AGAIN_SECONDS)
    return tunnel


async def resolve_by_any(
    choose_tunnel: ChooseTunnel, inquiry: Inquiry, on_answer: Callable[[bytes], None]
) -> None:
    """asyncio. `Tunnel.resolve` by whichever tunnel lives; one lost before it answers has its successor
    asked."""
    while True:
        tunnel = await next_tunnel(choose_tunnel)
        try:
            await tunnel.resolve(inquiry, on_answer)
            return
        except OSError:
            if not tunnel.lost.is_set():
                raise
